//! A server that cannot have protected memory for all the keys that there may be does not start: it would run
//! out under load.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};

use symbolon_repository::machine::needs;

/// The command, under a limit and without the capability that lifts it.
fn limited(kib: u32, args: &[&str]) -> Option<Command> {
    let found = Command::new("setpriv").arg("--version").output().is_ok_and(|done| done.status.success());
    needs("setpriv", "install util-linux", found.then_some(()))?;
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -l {kib} && exec setpriv --bounding-set=-ipc_lock \"$@\""), "sh"]);
    command.arg(env!("CARGO_BIN_EXE_symbolon")).args(args).env_remove("RUST_LOG");
    Some(command)
}

fn refused(home: &Path, args: &[&str]) -> Option<()> {
    let mut command = limited(64, args)?;
    let done = command.current_dir(home).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success(), "{said}");
    for word in ["RLIMIT_MEMLOCK is 64 KiB", "KiB that never reach the disk", "LimitMEMLOCK="] {
        assert!(said.contains(word), "{said}");
    }
    Some(())
}

#[test]
fn servers_without_room_for_their_keys_say_so_and_do_not_start() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("fragment.toml", "listen = \"127.0.0.1:0\"\nstate_dir = \"state\"\nkey_file = \"fragment.key\"\n");
    let fingerprint = ["00000"; 12].join(" ");
    let remote = format!("[remote]\nurl = \"https://127.0.0.1:1\"\nfingerprint = \"{fingerprint}\"\n");
    let store = "[store]\npath = \"store.redb\"\n[init]\nallow = true\n";
    write("broker.toml", &format!("listen = \"127.0.0.1:0\"\n{store}{remote}"));
    let _ = refused(home.path(), &["fragment", "serve", "--config", "fragment.toml"])
        .and_then(|()| refused(home.path(), &["broker", "--config", "broker.toml"]));
    assert!(!home.path().join("store.redb").exists(), "nothing was made");
}
