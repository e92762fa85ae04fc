//! The wipe before an abort reaches every secret of the process. Alone in its binary, because it spares
//! nobody.

use symbolon_proto::secret::{Secret, wipe_all_before_abort};

#[test]
fn nothing_is_left_of_any_secret() {
    let keys: Vec<_> = (0..3000).map(|_| Secret::<64>::filled_by(|bytes| bytes.fill(0xEE))).collect();
    wipe_all_before_abort();
    assert!(keys.iter().all(|key| key.expose().iter().all(|byte| *byte == 0)));
}
