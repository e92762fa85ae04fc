//! A real Tang server, and what a broker's configuration says of it.

use symbolon_repository::tang::Tang as Server;
use tempfile::TempDir;

/// The server, and the folder of its keys.
pub struct Tang {
    server: Server,
    _keys: TempDir,
}

impl Tang {
    /// One with fresh keys that runs; `None` where there is no Tang.
    pub fn start() -> Option<Self> {
        let keys = tempfile::tempdir().unwrap();
        let server = Server::start(keys.path()).unwrap()?;
        Some(Self { server, _keys: keys })
    }

    /// Starts it again, with the keys that it had.
    pub fn resume(&mut self) {
        self.server.resume().unwrap();
    }

    /// Stops it. Its keys stay.
    pub fn pause(&mut self) {
        self.server.stop();
    }

    /// A source of this name, at this place, as a configuration has it.
    pub fn source(&self, name: &str, place: &str) -> String {
        format!(
            "[[custody.sources]]\nname = \"{name}\"\nkind = \"tang\"\nplace = \"{place}\"\nservers = [ {{ url = \"{}\", thumbprint = \"{}\" }} ]\n",
            self.server.url(),
            self.server.thumbprint().unwrap()
        )
    }
}
