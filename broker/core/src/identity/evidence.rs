//! What a caller presents to prove who it is.

/// A token, a role id or a secret id as it was presented, without the white space around it: files end in a
/// line feed, and whoever sends what a file holds sends that too. Everything that judges such a text takes
/// one of these, so no login and no grant can forget it. Passwords are none: theirs may begin or end in a
/// blank.
#[derive(Clone, Copy)]
pub struct Evidence<'a>(&'a str);

impl<'a> Evidence<'a> {
    /// The text itself.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl<'a> From<&'a str> for Evidence<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.trim())
    }
}

impl<'a> From<&'a String> for Evidence<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}
