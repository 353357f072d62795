//! Secrets that lie in files, encrypted with age for the people who may read them.
//!
//! A secret is a whole file (age's own format, so that `age` reads it as well) or a single text among plain ones in a
//! TOML file (`password = "age:YWdl…"`). [`Recipients`] are the public keys it is encrypted for, [`Identities`] the
//! private ones that open it. Each file and each value that is written here says in its header, by short hashes, for
//! whom it is; so [`rekey_file`] touches only what must change, and [`Header::is_for`] needs no private key.
//!
//! Nothing here asks on the terminal or reads the environment: passphrases come from a function that the caller gives.

mod document;
mod edit;
mod files;
mod header;
mod identities;
mod opener;
mod private_key;
mod recipients;
mod replace;
mod scratch;
mod seal;

pub use document::{MARK, Opened, Sealed, Spot, opened_document, rekeyed_document, sealed_document, sealed_values};
pub use edit::{Editor, scratch_folders};
pub use files::{Edited, Rekeyed, edit_file, encrypt_file, rekey_file, standing, view_file};
pub use header::{Header, Standing};
pub use identities::{Ask, Identities, init, usual_identities};
pub use opener::{HELP, Source, keys_from, read_source, unseal};
pub use recipients::{RECIPIENTS_FILE, Recipient, Recipients};
pub use replace::replace;
pub use seal::{Unreadable, decrypt, decrypt_value, encrypt, encrypt_binary, encrypt_value, is_encrypted_file, is_encrypted_value};

#[cfg(test)]
mod testing;
