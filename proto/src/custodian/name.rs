//! Names of people: such that two can be told apart on a screen and on paper.

/// Longest custodian name in characters, all printable.
pub const CUSTODIAN_NAME_CHARS_MAX: usize = 64;
/// Longest custodian name in bytes of UTF-8.
pub const CUSTODIAN_NAME_BYTES_MAX: usize = 4 * CUSTODIAN_NAME_CHARS_MAX;

/// Whether a name can be read and told from others: 1 to 64 printable characters, none invisible, no blank at
/// either end.
#[must_use]
pub fn is_custodian_name(name: &str) -> bool {
    let chars = name.chars().count();
    let printable = !name.chars().any(|character| character.is_control() || is_invisible(character));
    chars > 0 && chars <= CUSTODIAN_NAME_CHARS_MAX && name.trim() == name && printable
}

/// Characters that make two names look alike, or turn the text around them: zero width, direction, byte order
/// mark.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
