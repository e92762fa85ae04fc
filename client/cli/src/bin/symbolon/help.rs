//! The commands in groups, by who needs them.

use clap::Command;

/// Headings, and the commands below each. A test keeps them whole.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Everyday", &["login", "kv", "read", "write", "list", "delete", "token", "workload", "status"]),
    (
        "Operators",
        &[
            "setup", "operator", "secrets", "auth", "role", "policy", "eso", "backup", "ceremony", "custody",
            "recovery",
        ],
    ),
    ("Custodians and officers", &["custodian", "officer"]),
    ("Auditors", &["audit"]),
    ("Servers and tools", &["broker", "fragment", "dev", "demo", "load", "completion", "man", "help"]),
];

/// The command with its groups in place of one long list.
pub fn grouped(command: Command) -> Command {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let lines: Vec<_> = names.iter().filter_map(|name| line(&command, name)).collect();
        text.push_str(&format!("{heading}:\n{}\n", lines.concat()));
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}Options:\n{{options}}{{after-help}}"
    ))
}

fn line(command: &Command, name: &str) -> Option<String> {
    let about = match command.find_subcommand(name) {
        Some(found) => found.get_about().map(ToString::to_string).unwrap_or_default(),
        None if name == "help" => "Print this, or the help of a command".to_owned(),
        None => return None, // not in this build
    };
    Some(format!("  {name:<12}{about}\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::GROUPS;

    #[test]
    fn every_command_stands_in_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let command = crate::Cli::command();
        for name in command.get_subcommands().map(clap::Command::get_name) {
            assert!(grouped.contains(&name), "{name} is in no group of the help");
        }
        let count = grouped.len();
        grouped.sort_unstable();
        grouped.dedup();
        assert_eq!(grouped.len(), count, "a command stands in two groups");
    }
}
