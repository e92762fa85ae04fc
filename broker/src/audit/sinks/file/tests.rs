#![allow(clippy::unwrap_used)]
use super::*;

fn open_in(home: &Path, keep: u32) -> Open {
    Open::of(Arc::new(Settings { path: home.join("x"), rotate_mib: 1, keep })).unwrap()
}

/// A power cut leaves half a line, which was not acknowledged.
#[test]
fn half_a_line_is_cut_off_and_others_are_not_touched() {
    let home = tempfile::tempdir().unwrap();
    for (there, kept) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"a", "{}\n"), ("{\"a", "")] {
        fs::write(home.path().join("x"), there).unwrap();
        open_in(home.path(), 1).write(b"{1}\n").unwrap();
        assert_eq!(fs::read_to_string(home.path().join("x")).unwrap(), format!("{kept}{{1}}\n"));
    }
}

#[test]
fn files_before_are_kept_as_many_as_asked_for_and_nobody_else_may_read_them() {
    let home = tempfile::tempdir().unwrap();
    let mut file = open_in(home.path(), 2);
    let block = vec![b'{'; 600 << 10];
    for number in 0..5_u8 {
        file.write(&[&block[..], &[b'0' + number, b'\n']].concat()).unwrap();
    }
    let last = |name: &str| fs::read(home.path().join(name)).unwrap().iter().rev().nth(1).copied();
    assert_eq!((last("x"), last("x.1"), last("x.2")), (Some(b'4'), Some(b'3'), Some(b'2')));
    assert!(!home.path().join("x.3").exists());
    assert_eq!(fs::metadata(home.path().join("x")).unwrap().mode() & 0o777, FILE_MODE);
}

/// As logrotate does it.
#[test]
fn a_file_that_somebody_has_moved_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let mut file = open_in(home.path(), 2);
    file.write(b"{1}\n").unwrap();
    fs::rename(home.path().join("x"), home.path().join("moved")).unwrap();
    file.write(b"{2}\n").unwrap();
    assert_eq!(fs::read_to_string(home.path().join("x")).unwrap(), "{2}\n");
}

/// A typo, or a link that somebody has put there, must not cost a key.
#[test]
fn what_is_no_file_of_lines_is_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let (x, key) = (home.path().join("x"), home.path().join("key"));
    let settings = || Arc::new(Settings { path: x.clone(), rotate_mib: 1, keep: 1 });
    for foreign in ["MHcCAQEEIKey", "-----BEGIN\nMHcCAQ", "{}\nMHcCAQ"] {
        fs::write(&x, foreign).unwrap();
        assert!(Open::of(settings()).is_err(), "{foreign}");
        assert_eq!(fs::read_to_string(&x).unwrap(), foreign);
    }
    fs::remove_file(&x).unwrap();
    fs::write(&key, "{").unwrap();
    std::os::unix::fs::symlink(&key, &x).unwrap();
    assert!(Open::of(settings()).is_err(), "a link");
    assert_eq!(fs::read_to_string(&key).unwrap(), "{");
    fs::remove_file(&x).unwrap();
    fs::create_dir(&x).unwrap();
    assert!(Open::of(settings()).is_err(), "a folder");
    fs::remove_dir(&x).unwrap();
    fs::write(&x, "{}\n").unwrap();
    fs::set_permissions(&x, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Open::of(settings()).unwrap());
    assert_eq!(fs::metadata(&x).unwrap().mode() & 0o777, FILE_MODE);
}
