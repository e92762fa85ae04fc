//! Units for systemd. `systemd-analyze verify` and `systemd-analyze security` look at them in a test.

use std::path::Path;

use super::Layout;

/// What differs between the two services.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// One line.
    pub description: &'a str,
    /// Arguments of the program.
    pub args: &'a str,
    /// The configuration file.
    pub config: &'a Path,
    /// Name of the state directory below `/var/lib`, in a system layout.
    pub state: &'a str,
    /// Whom it runs as.
    pub user: &'a str,
    /// Port that it listens on.
    pub port: u16,
}

/// Ports that only root may listen on.
const PRIVILEGED_PORTS: u16 = 1024;

/// What neither service ever needs. `memfd_secret` is the memory of keys, and in no group of systemd's.
const HARDENING: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service memfd_secret
SystemCallErrorNumber=EPERM
UMask=0077
# Keys live in memory that is never swapped out, and in no core dump.
LimitMEMLOCK=64M
LimitCORE=0
MemorySwapMax=0
";

impl Service<'_> {
    /// The unit.
    #[must_use]
    pub fn unit(&self, layout: &Layout, program: &Path) -> String {
        let Self { description, args, config, user, .. } = self;
        let exec = format!("{} {args} --config {}", quoted(program), quoted(config));
        let capability = if self.port < PRIVILEGED_PORTS { "CAP_NET_BIND_SERVICE" } else { "" };
        format!(
            "# Made by `symbolon setup`. Changes of yours are kept.\n[Unit]\nDescription={description}\n\
             Wants=network-online.target\nAfter=network-online.target\n\n[Service]\nUser={user}\nExecStart={exec}\n\
             Restart=on-failure\nRestartSec=2\n{}CapabilityBoundingSet={capability}\nAmbientCapabilities={capability}\n\
             {HARDENING}\n[Install]\nWantedBy=multi-user.target\n",
            self.places(layout),
        )
    }

    fn places(&self, layout: &Layout) -> String {
        if layout.is_system {
            return format!("StateDirectory={}\nStateDirectoryMode=0700\nProtectHome=yes\n", self.state);
        }
        format!("ReadWritePaths={}\n", quoted(&layout.state_dir))
    }
}

/// A path as a word of a unit: `%` and `$` mean something there.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%").replace('$', "$$");
    if text.contains([' ', '"', '\'', '\\', ';']) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text
}
