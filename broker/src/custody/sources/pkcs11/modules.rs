//! Libraries of vendors: each loaded once in this process, and begun (`C_Initialize`) once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::TokenError;
use crate::custody::sources::SourceError;

/// By its path without links: two names of one file are one library. Entries stay, as libraries do.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Mutex<Module>>>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Module {
    library: Option<Pkcs11>,
    is_begun: bool,
}

/// Does `work` with a library that nobody else of this process uses meanwhile: whoever is logged in is so for
/// the whole process.
pub(super) fn with<T>(
    path: &Path,
    work: impl FnOnce(&Pkcs11) -> Result<T, TokenError>,
) -> Result<T, SourceError> {
    let unusable = |source| SourceError::File { path: path.to_owned(), source };
    let real = path.canonicalize().map_err(unusable)?;
    let module =
        Arc::clone(MODULES.lock().unwrap_or_else(PoisonError::into_inner).entry(real.clone()).or_default());
    let mut module = module.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match module.library.take() {
        Some(library) => library,
        None => load(&real).map_err(unusable)?,
    };
    let done = module.begin(&library).and_then(|()| work(&library));
    if matches!(done, Err(TokenError::NotThere | TokenError::Code(..))) {
        module.end(&library);
    }
    module.library = Some(library);
    done.map_err(SourceError::from)
}

fn load(path: &Path) -> std::io::Result<Pkcs11> {
    let unsound =
        |error| std::io::Error::other(format!("it is no PKCS#11 library that can be loaded: {error}"));
    Pkcs11::new(path).map_err(unsound)
}

impl Module {
    fn begin(&mut self, library: &Pkcs11) -> Result<(), TokenError> {
        if self.is_begun {
            return Ok(());
        }
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => self.is_begun = true,
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(TokenError::of(error)),
        }
        Ok(())
    }

    /// Many libraries look for tokens only when they begin, and some do not mend a connection: what comes
    /// back is found by beginning again.
    fn end(&mut self, library: &Pkcs11) {
        if self.is_begun {
            let _ = library.clone().finalize(); // it is begun again either way
            self.is_begun = false;
        }
    }
}
