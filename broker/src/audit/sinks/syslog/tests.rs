#![allow(clippy::unwrap_used)]
use symbolon_core::audit::Outcome;

use super::*;
use crate::audit::sinks::Line;
use crate::config::{Config, SMALL};

fn check(settings: &str) -> Result<(), String> {
    let text = format!("{SMALL}\n[[audit.sinks]]\nname = \"a\"\nkind = \"syslog\"\n{settings}");
    let config = Config::parse(&text).unwrap();
    let sinks = &config.lives.now().audit.sinks;
    crate::audit::sinks::parse(&sinks[0], Patience::default()).map(drop)
}

#[test]
fn settings_that_cannot_work_are_refused_with_what_is_wanted() {
    for good in [
        "transport = \"tcp\"\nto = \"logs.example:514\"",
        "transport = \"udp\"\nto = \"[::1]:514\"",
        "transport = \"unix\"\nto = \"/dev/log\"",
        "transport = \"tls\"\nto = \"logs.example:6514\"\nca_file = \"/x\"\nserver_name = \"y\"\nfacility = 23",
    ] {
        check(good).unwrap();
    }
    for (bad, wanted) in [
        ("transport = \"tcp\"\nto = \"logs.example\"", "host:port"),
        ("transport = \"tcp\"\nto = \"logs.example:0\"", "host:port"),
        ("transport = \"unix\"\nto = \"log\"", "absolute path"),
        ("transport = \"tls\"\nto = \"x:1\"", "ca_file"),
        ("transport = \"udp\"\nto = \"x:1\"\nca_file = \"/x\"", "transport = \"tls\""),
        ("transport = \"tls\"\nto = \"x:1\"\nca_file = \"/x\"\ncert_file = \"/y\"", "belong together"),
        ("transport = \"udp\"\nto = \"x:1\"\nfacility = 24", "0 to 23"),
        ("transport = \"udp\"\nto = \"x:1\"\nhostname = \"a b\"", "printable"),
        ("transport = \"udp\"\nto = \"x:1\"\napp_name = \"\"", "printable"),
        ("transport = \"udp\"\nto = \"x:1\"\nport = 3", "port"),
        ("transport = \"relp\"\nto = \"x:1\"", "relp"),
    ] {
        let why = check(bad).unwrap_err();
        assert!(why.contains(wanted), "{bad}: {why}");
    }
}

/// The example of RFC 5424, 6.5, in our words, and the frame of RFC 6587, 3.4.1.
#[test]
fn a_message_is_this_text_and_a_frame_begins_with_its_length() {
    let origin = Origin { facility: 13, hostname: "b1".to_owned(), app_name: "symbolon".to_owned() };
    let line = Line {
        index: 2_147_483_646,
        hash: String::new(),
        time_ms: 951_827_696_007,
        action: "secret-read".to_owned(),
        outcome: Outcome::Denied,
        text: "{}".to_owned(),
    };
    let message =
        "<108>1 2000-02-29T12:34:56.007Z b1 symbolon - secret-read [meta sequenceId=\"2147483647\"] {}";
    assert_eq!(origin.message(&line), message);
    assert_eq!(origin.frame(&line), format!("{} {message}", message.len()));
    let next = Line { index: line.index + 1, ..line };
    assert!(origin.message(&next).contains("sequenceId=\"1\""));
}
