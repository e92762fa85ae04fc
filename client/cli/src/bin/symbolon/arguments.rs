//! What people type who know `vault` and `bao`: long options with one dash.

use std::ffi::OsString;

use clap::Command;

/// `-field=x` as `--field=x`, wherever some command of ours has an option of that name; what comes after `--`
/// stays as it is.
pub fn with_long_options(arguments: impl Iterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let mut is_over = false;
    let lengthen = |argument: OsString| {
        is_over |= argument == "--";
        match argument.to_str().filter(|_| !is_over).and_then(|text| text.strip_prefix('-')) {
            Some(word) if is_long_option(word, command) => format!("--{word}").into(),
            _ => argument,
        }
    };
    arguments.map(lengthen).collect()
}

/// Single letters, and several of them in a row, are options of their own.
fn is_long_option(word: &str, command: &Command) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    name.len() > 2 && !name.starts_with('-') && has(command, name)
}

fn has(command: &Command, name: &str) -> bool {
    let is_it = |argument: &clap::Arg| {
        argument.get_long() == Some(name)
            || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    };
    command.get_arguments().any(is_it) || command.get_subcommands().any(|below| has(below, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengthened(words: &[&str]) -> Vec<OsString> {
        with_long_options(words.iter().map(OsString::from), &crate::command())
    }

    #[test]
    fn one_dash_is_enough_for_a_long_option_and_for_nothing_else() {
        let typed = ["symbolon", "kv", "get", "-field=password", "-format", "json", "-f", "-", "-nonsense"];
        let read = ["symbolon", "kv", "get", "--field=password", "--format", "json", "-f", "-", "-nonsense"];
        assert_eq!(lengthened(&typed), read.map(OsString::from));
        assert_eq!(lengthened(&["x", "--", "-field"]), ["x", "--", "-field"].map(OsString::from));
    }
}
