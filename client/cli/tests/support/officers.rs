//! Two officers of the fragment service: their keys, and what they order.

use std::path::Path;

use serde_json::Value;

use crate::deployment::Deployment;
use crate::support::{Done, command, run};

pub const OLGA: &str = "Olga Officer";
pub const OMAR: &str = "Omar Officer";

/// An officer makes a key; the service's operator puts it into the configuration.
pub fn section(home: &Path, name: &str) -> String {
    let phrase = home.join(format!("{name}.phrase"));
    std::fs::write(&phrase, format!("four random words of {name}\n")).unwrap();
    let keygen = ["officer", "keygen", "--name", name, "--memory", "64", "--output", "json"];
    let mut command = command(&keygen);
    command.arg("--out").arg(home.join(format!("{name}.key"))).arg("--passphrase-file").arg(phrase);
    let made: Value = serde_json::from_str(&run(&mut command, "").expect(0).stdout).unwrap();
    format!("[[officer]]\nname = \"{name}\"\nkey = {}\n", made["key"])
}

/// Signs what `order` holds. `to` is where the signed order goes: an option, or standard output.
pub fn sign(deployment: &Deployment, name: &str, order: &str, to: &[&str]) -> Done {
    let (key, phrase) = (format!("{name}.key"), format!("{name}.phrase"));
    let args = ["officer", "sign", "--yes", "--key", &key, "--passphrase-file", &phrase, "-"];
    deployment.run(&[&args, to].concat(), order)
}

/// An order that both officers have signed.
pub fn ordered(deployment: &Deployment, draft: &[&str]) -> String {
    let draft = deployment.run(&[&["fragment", "draft"], draft].concat(), "").expect(0).stdout;
    let once = sign(deployment, OLGA, &draft, &[]).expect(0).stdout;
    sign(deployment, OMAR, &once, &[]).expect(0).stdout
}

pub fn hand_in(deployment: &Deployment, as_what: &str, order: &str) -> Done {
    deployment.run(&["fragment", as_what, "-"], order)
}
