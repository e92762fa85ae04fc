//! The log across a cut: exported, pruned by hand, verified by an auditor, by their old copy, and by Go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use symbolon_broker::audit::retention::journal::Known;
use symbolon_cli::audit::{Archive, LogError, LogSource, Report, copy, verify};
use symbolon_cli::demo::world::World;
use symbolon_core::audit::{Action, Draft};
use symbolon_proto::log::pruned::Order;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::{Checkpoint, Finding, VerifierKey};

use crate::audit::{entries, size};
use crate::backups::{recipient, until_backup};
use crate::site::{BRISK, Site};
use crate::tools::go;

/// A site that exports its log, and what an auditor of it has.
struct Kept {
    site: Site,
    archive: PathBuf,
    key: VerifierKey,
}

impl Kept {
    async fn open() -> Self {
        let mut world = World::new(BRISK, None).unwrap();
        let archive = world.path("archive");
        std::fs::create_dir(&archive).unwrap();
        world.tables(&format!(
            "[audit]\nexport = {:?}\ndisk_budget_mib = 1024\n[metrics]\nopen = true\n",
            archive.to_str().unwrap()
        ));
        world.start_fragment().await.unwrap();
        world.start_broker(true).await.unwrap();
        let site = Site::initialise(world).await;
        site.begin().await;
        let key = site.log_key.parse().unwrap();
        Self { site, archive, key }
    }

    /// Entries until the log has `entries`, in large groups.
    async fn grow_to(&self, entries: u64) {
        let session = self.site.world.session().unwrap();
        while session.entries() < entries {
            let some = (entries - session.entries()).min(256);
            let draft = || Draft::by_broker(Action::SecretRead, "x".repeat(80));
            let mut all = tokio::task::JoinSet::new();
            for _ in 0..some {
                let (session, draft) = (Arc::clone(&session), draft());
                all.spawn(async move { session.record(draft).await.unwrap() });
            }
            all.join_all().await;
        }
    }

    async fn state(&self) -> Value {
        self.site.root_get("sys/symbolon/audit/segments").await.expect(200).json()["data"].clone()
    }

    /// Waits for the retention to do what `is_done` looks for.
    async fn until(&self, is_done: impl AsyncFn() -> bool) {
        for _ in 0..600 {
            self.site.world.session().unwrap().of::<Known>().get().unwrap().hurry();
            if is_done().await {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("it never came to be: {}", self.state().await);
    }

    fn broker(&self) -> LogSource {
        LogSource::Broker(self.site.client())
    }

    fn with_segments(&self) -> Result<LogSource, LogError> {
        let archive = Archive::open(&self.archive, &self.key)?;
        Ok(LogSource::Exported(archive, Box::new(self.broker())))
    }

    async fn verify(&self, source: &LogSource, earlier: Option<&Checkpoint>) -> Result<Report, LogError> {
        verify(source, &self.key, earlier, &mut |_, _| {}).await
    }

    async fn checkpoint(&self) -> (String, Checkpoint) {
        let note = self.broker().checkpoint().await.unwrap();
        let checkpoint = Checkpoint::open(&note, &self.key).unwrap();
        (note, checkpoint)
    }

    async fn copy_to(&self, directory: &Path) {
        copy(&self.broker(), directory, &mut |_, _| {}).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auditors_and_go_verify_across_a_cut_that_names_who_ordered_it() {
    let mut kept = Kept::open().await;
    let (_, early) = kept.checkpoint().await;
    kept.grow_to(2 * SEGMENT_ENTRIES + 700).await;
    let auditor = tempfile::tempdir().unwrap();
    kept.copy_to(auditor.path()).await;
    let (note, before) = kept.checkpoint().await;
    let earlier = auditor.path().join("earlier");
    std::fs::write(&earlier, note).unwrap();
    kept.until(async || kept.state().await["exported_until"] == json!(2 * SEGMENT_ENTRIES)).await;

    only_with_sudo(&kept).await;
    let wanted = json!({ "before": SEGMENT_ENTRIES + 900 });
    kept.until(async || kept.site.root_put("sys/symbolon/audit/prune", &wanted).await.status == 200).await;
    let again = kept.site.root_put("sys/symbolon/audit/prune", &wanted).await;
    assert!(again.status == 400 && again.text.contains("nothing can be pruned"), "{}", again.text);
    told_by_name(&kept).await;

    let report = kept.verify(&kept.broker(), Some(&before)).await.unwrap();
    let cut = report.pruned.cuts[0];
    assert_eq!((report.begin, cut.first, cut.end), (SEGMENT_ENTRIES, 0, SEGMENT_ENTRIES));
    assert_eq!((cut.order, cut.exported), (Order::Operator, true));
    let unknown = kept.verify(&kept.broker(), Some(&early)).await;
    assert!(matches!(unknown, Err(LogError::Before { minimum: SEGMENT_ENTRIES, .. })), "{unknown:?}");
    let whole = kept.verify(&kept.with_segments().unwrap(), Some(&early)).await.unwrap();
    assert_eq!(whole.begin, 0);

    kept.grow_to(3 * SEGMENT_ENTRIES + 300).await;
    kept.copy_to(auditor.path()).await; // their old copy goes on across the cut
    let old = LogSource::Directory(auditor.path().to_owned());
    assert_eq!(kept.verify(&old, Some(&before)).await.unwrap().begin, 0);
    let newcomer = tempfile::tempdir().unwrap();
    kept.copy_to(newcomer.path()).await;
    let new = LogSource::Directory(newcomer.path().to_owned());
    assert_eq!(kept.verify(&new, Some(&before)).await.unwrap().begin, SEGMENT_ENTRIES);
    verified_by_go(&kept.key, auditor.path(), 0, &earlier);
    verified_by_go(&kept.key, newcomer.path(), SEGMENT_ENTRIES, &earlier);
    damage_is_named(&kept, newcomer.path()).await;

    kept.site.restart(async |_| {}).await;
    kept.site.unseal().await;
    assert_eq!(kept.verify(&kept.broker(), Some(&before)).await.unwrap().begin, SEGMENT_ENTRIES);
}

/// A broker that may take 64 MiB for its log, makes backups, and has a user.
async fn tight(places: &Path) -> Site {
    let mut world = World::new(BRISK, None).unwrap();
    let (card, (_, text)) = (world.path("ops.card"), recipient());
    std::fs::write(&card, text).unwrap();
    world.tables(&format!(
        "[audit]\nexport = \"none\"\ndisk_budget_mib = 64\nwhen_full = \"refuse\"\n[backup]\nrecipients = [{card:?}]\nto = {places:?}\n"
    ));
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let site = Site::initialise(world).await;
    site.begin().await;
    site.root_put("sys/auth/userpass", &json!({ "type": "userpass" })).await.expect(204);
    site.root_put("auth/userpass/users/ops", &json!({ "password": "correct horse" })).await.expect(204);
    site.write("x", "1").await;
    site
}

/// A little more than the budget in large entries of what retention says, which has no limit.
async fn fill(site: &Site) {
    let session = site.world.session().unwrap();
    while session.entries() < SEGMENT_ENTRIES + 300 {
        let draft = || Draft::by_broker(Action::Retention, "x".repeat(15_700));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (session, draft) = (Arc::clone(&session), draft());
            all.spawn(async move { session.record(draft).await.unwrap() });
        }
        all.join_all().await;
    }
}

async fn until_full(site: &Site) {
    for _ in 0..600 {
        site.world.session().unwrap().of::<Known>().get().unwrap().hurry();
        if site.read("x").await.status == 500 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the budget is not used up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_the_budget_the_ways_out_are_open() {
    let places = tempfile::tempdir().unwrap();
    let site = tight(places.path()).await;
    let first = until_backup(&site, &Value::Null).await["last"]["name"].clone();
    let stolen = site.token_with("stolen", r#"path "secret/data/*" { capabilities = ["read"] }"#).await;
    fill(&site).await;
    until_full(&site).await;
    let password = r#"{"password":"correct horse"}"#;
    site.ask("PUT", "auth/userpass/login/ops", "", password).await.expect(200);
    site.ask("PUT", "auth/userpass/login/ops", "", r#"{"password":"wrong"}"#).await.expect(400);
    site.root_put("auth/token/revoke", &json!({ "token": stolen })).await.expect(204);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await; // names are to the second
    site.root_put("sys/symbolon/backup", &json!({})).await.expect(204);
    until_backup(&site, &first).await;
    let status = site.get("sys/seal-status", "").await.expect(200).json();
    assert_eq!(status["log"]["full"], json!(true), "{status}");
    site.root_get("sys/symbolon/audit/segments").await.expect(200);
    let none = site.root_put("sys/symbolon/audit/prune", &json!({ "before": 5 })).await.expect(400);
    assert!(none.text.contains("nothing can be pruned"), "{}", none.text);

    let before = site.world.session().unwrap().entries();
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    site.unseal().await;
    until_full(&site).await;
    let wanted = json!({ "before": SEGMENT_ENTRIES, "unexported": true });
    for tries in 0.. {
        match site.root_put("sys/symbolon/audit/prune", &wanted).await.status {
            200 => break,
            _ if tries > 600 => panic!("it is never anchored"),
            _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
    assert_eq!(site.read("x").await.status, 200, "at once");
    let told = entries(&site, before).await;
    for action in ["seal", "unseal"] {
        assert!(told.iter().any(|entry| entry["type"] == action), "{action}");
    }
}

async fn only_with_sudo(kept: &Kept) {
    let rule = r#"path "sys/symbolon/audit/*" { capabilities = ["read", "update"] }"#;
    let token = kept.site.token_with("auditor", rule).await;
    kept.site.get("sys/symbolon/audit/segments", &token).await.expect(403);
    kept.site.ask("PUT", "sys/symbolon/audit/prune", &token, r#"{"before":5000}"#).await.expect(403);
    kept.site.ask("PUT", "sys/symbolon/audit/prune", "", r#"{"before":5000}"#).await.expect(403);
    kept.site.root_put("sys/symbolon/audit/prune", &json!({})).await.expect(400);
    kept.site.root_put("sys/symbolon/audit/prune", &json!({ "before": 5 })).await.expect(400);
}

/// In the log, in what the broker shows to those who may see it, and, without the name, to everybody.
async fn told_by_name(kept: &Kept) {
    let state = kept.state().await;
    assert_eq!(
        (&state["minimum"], &state["cuts"][0]["end"]),
        (&json!(SEGMENT_ENTRIES), &json!(SEGMENT_ENTRIES))
    );
    assert_eq!(state["cuts"][0]["place"], json!(kept.archive.to_str().unwrap()));
    let by = state["cuts"][0]["by"].as_str().unwrap().to_owned();
    let from = size(&kept.site).await - 200;
    let all = entries(&kept.site, from).await;
    let cut = all.iter().find(|entry| {
        let object = entry["target"]["object"].as_str().unwrap_or_default();
        entry["type"] == "retention" && object.contains("are pruned by order of")
    });
    assert_eq!(cut.unwrap()["actor"]["name"], json!(by), "{cut:?}");
    let public = kept.site.send(kept.site.request("GET", "log/pruned")).await.expect(200);
    assert!(public.text.contains("operator exported") && !public.text.contains(&by), "{}", public.text);
    let gone = kept.site.send(kept.site.request("GET", "log/tile/entries/000")).await;
    assert_eq!(gone.status, 404);
    let numbers = kept.site.send(kept.site.request("GET", "metrics")).await.expect(200).text;
    let number = |name: &str| numbers.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    assert_eq!(number("symbolon_log_budget_bytes "), Some(1_u64 << 30), "{numbers}");
    assert_eq!(number("symbolon_log_exported "), Some(2 * SEGMENT_ENTRIES));
    let status = kept.site.get("sys/seal-status", "").await.json();
    assert_eq!(status["log"]["budget_bytes"], json!(1_u64 << 30));
    assert!(status["log"]["bytes"].as_u64().unwrap() > 1 << 20, "{status}");
}

/// Each kind of damage in what was exported is named, with the file or the entry.
async fn damage_is_named(kept: &Kept, newcomer: &Path) {
    let mut objects: Vec<_> =
        std::fs::read_dir(&kept.archive).unwrap().map(|file| file.unwrap().path()).collect();
    objects.sort();
    let path = objects[0].clone();
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[512 + 300] ^= 1; // within the first entries
    std::fs::write(&path, flipped).unwrap();
    let found = kept.verify(&kept.with_segments().unwrap(), None).await;
    assert!(matches!(found, Err(LogError::Finding(Finding::Changed { index: 0 | 1 }))), "{found:?}");
    for cut in [700, whole.len() / 2, whole.len() - 2000] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(kept.with_segments(), Err(LogError::Segment { .. })), "{cut}");
    }
    std::fs::remove_file(&path).unwrap();
    let found = kept.verify(&kept.with_segments().unwrap(), None).await;
    assert!(matches!(found, Err(LogError::Missing { index: 0, .. })), "{found:?}");
    std::fs::write(&path, whole).unwrap();
    kept.verify(&kept.with_segments().unwrap(), None).await.unwrap();
    // What is said of the cut, and what is kept of the tree before it.
    for name in ["pruned", "tile/1/000.p/49", "tile/1/000.p/48"] {
        let path = newcomer.join(name);
        let Ok(whole) = std::fs::read(&path) else { continue };
        let mut flipped = whole.clone();
        flipped[30] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        let found = kept.verify(&LogSource::Directory(newcomer.to_owned()), None).await;
        assert!(matches!(found, Err(LogError::Pruned { .. })), "{name}: {found:?}");
        std::fs::write(&path, whole).unwrap();
    }
}

fn verified_by_go(key: &VerifierKey, directory: &Path, first: u64, earlier: &Path) {
    let Some(mut go) = go() else { return };
    let arguments = [key.to_string(), directory.display().to_string(), first.to_string()];
    let output = go.args(["run", "./tlog"]).args(arguments).arg(earlier).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.starts_with("verified "), "{told}{error}");
}
