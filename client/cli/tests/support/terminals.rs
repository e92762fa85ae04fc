//! Terminals of several people, and pages that say what they show.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use symbolon_cli::demo::world;

/// Ends what a command has printed, and says how it ended.
const END: &str = "@@ended ";

/// A shell of somebody's own, in a directory of their own.
pub struct Terminal {
    shell: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
    /// What was looked at already, in bytes.
    seen: usize,
}

impl Terminal {
    /// Opens one.
    pub fn open(home: &Path, who: &str) -> Self {
        let own = home.join(who);
        std::fs::create_dir(&own).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_symbolon")).parent().unwrap();
        let mut shell = Command::new("bash");
        shell.args(["--norc", "--noprofile"]).env_clear().current_dir(&own).env("HOME", &own);
        shell.env("PATH", format!("{}:/usr/bin:/bin", program.display())).env("COLUMNS", "200");
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut keys, mut screen) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let seen_by_reader = Arc::clone(&shown);
        let reader = std::thread::Builder::new().name(format!("screen of {who}"));
        let read = move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                seen_by_reader.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        };
        reader.spawn(read).unwrap();
        keys.write_all(b"exec 2>&1\n").unwrap();
        Self { shell, keys, shown, seen: 0 }
    }

    /// Types a command, and what it asks for.
    pub fn enter(&mut self, command: &str, input: Option<&str>) {
        let input = match input {
            Some(input) => format!("<<'@@typed'\n{input}\n@@typed"),
            None => "</dev/null".to_owned(),
        };
        let line = format!("{{ {command}\n}} {input}\necho; echo \"{END}$?\"\n");
        self.keys.write_all(line.as_bytes()).unwrap();
    }

    /// What it has printed when it ends.
    pub fn ended(&mut self) -> String {
        let is_whole = |shown: &str| shown.rfind(END).is_some_and(|at| shown[at..].contains('\n'));
        let shown = self.until(is_whole);
        shown.split(END).next().unwrap().to_owned()
    }

    /// What it has printed so far, once that will do.
    pub fn until(&mut self, will_do: impl Fn(&str) -> bool) -> String {
        let (shown, seen) = (Arc::clone(&self.shown), self.seen);
        let look = || shown.lock().unwrap()[seen..].to_owned();
        until("what a page says", || will_do(&look()), look);
        let text = look();
        self.seen += text.len();
        text
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A command that waits still is one of its children, as are the servers.
        let _ = Command::new("pkill").args(["-P", &self.shell.id().to_string()]).status();
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Looks until it is so; otherwise says what there was instead.
#[track_caller]
fn until(what: &'static str, mut is_so: impl FnMut() -> bool, look: impl Fn() -> String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let found = runtime.block_on(async {
        let look = || std::future::ready(Ok(is_so().then_some(())));
        world::until(what, look).await
    });
    assert!(found.is_ok(), "{what} did not come; instead:\n{}", look());
}

/// Waits for whoever listens there.
pub fn wait_for(port: &str) {
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let is_there = || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
    until("a server", is_there, String::new);
}

/// What stands on a page between < and >, and what it was.
pub struct Transcript {
    /// Homes below it are `~`.
    home: String,
    /// Ports on the page, and those that were free.
    ports: Vec<(&'static str, String)>,
    known: BTreeMap<String, String>,
}

impl Transcript {
    /// Nothing is known yet.
    pub fn new(home: &Path, ports: Vec<(&'static str, String)>) -> Self {
        Self { home: home.display().to_string(), ports, known: BTreeMap::new() }
    }

    /// A line of the page as it is typed here.
    pub fn filled_in(&self, line: &str) -> String {
        let filled = self
            .known
            .iter()
            .fold(line.to_owned(), |line, (name, value)| line.replace(&format!("<{name}>"), value));
        self.ports
            .iter()
            .fold(filled, |line, (page, port)| line.replace(&format!(":{page}"), &format!(":{port}")))
    }

    /// Whether this is what the page says, or the first line that is not.
    pub fn compare(&self, expected: &[String], printed: &str) -> Result<(), String> {
        self.matched(expected, printed).map(drop)
    }

    /// Keeps what stood where the page has a name.
    pub fn learn(&mut self, expected: &[String], printed: &str) {
        self.known = self.matched(expected, printed).unwrap();
    }

    fn matched(&self, expected: &[String], printed: &str) -> Result<BTreeMap<String, String>, String> {
        let mut known = self.known.clone();
        let expected: Vec<_> =
            expected.iter().map(|line| collapsed(line)).filter(|line| !line.is_empty()).collect();
        let printed: Vec<_> = printed
            .lines()
            .map(|line| collapsed(&self.as_on_page(line)))
            .filter(|line| !line.is_empty())
            .collect();
        for (at, line) in expected.iter().enumerate() {
            let found = printed.get(at).map_or("(nothing)", String::as_str);
            if !fits(line, found, &mut known) {
                return Err(format!("The page says:\n  {line}\nand this is:\n  {found}"));
            }
        }
        match printed.get(expected.len()) {
            None => Ok(known),
            Some(more) => Err(format!("The page does not say:\n  {more}")),
        }
    }

    fn as_on_page(&self, line: &str) -> String {
        let mut line = line.to_owned();
        while let Some(at) = line.find(&self.home) {
            let rest = line[at + self.home.len()..].trim_start_matches('/');
            let below = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            line = format!("{}~{}", &line[..at], &rest[below..]);
        }
        self.ports
            .iter()
            .fold(line, |line, (page, port)| line.replace(&format!(":{port}"), &format!(":{page}")))
    }
}

/// A line without padding.
fn collapsed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line is what the page has, with something for each name in it; the same for the same name.
fn fits(page: &str, line: &str, known: &mut BTreeMap<String, String>) -> bool {
    let Some((before, name, rest)) = page
        .split_once('<')
        .and_then(|(before, rest)| rest.split_once('>').map(|(name, rest)| (before, name, rest)))
    else {
        return page == line;
    };
    let Some(line) = line.strip_prefix(before) else { return false };
    if let Some(value) = known.get(name) {
        return line
            .strip_prefix(value.as_str())
            .is_some_and(|line| fits(rest, line, &mut known.clone()) && fits(rest, line, known));
    }
    let ends = line.char_indices().map(|(at, _)| at).skip(1).chain([line.len()]);
    for end in ends {
        let mut with = known.clone();
        if name != "…" {
            with.insert(name.to_owned(), line[..end].to_owned());
        }
        if fits(rest, &line[end..], &mut with) {
            *known = with;
            return true;
        }
    }
    false
}
