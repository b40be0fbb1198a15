//! The state file of `--state FILE`: registered names, bans and mutes. [`StateFile`] reads and replaces it.
//!
//! Each change replaces the whole file: a new file is written beside it, written to the disk by `fsync(2)`, and renamed. So the
//! file is complete after a crash at any time. It has the last state that was saved, or the one that was being saved.
//!
//! [`StateFile::save`] blocks the loop until the disk has the data, which takes milliseconds on most disks. Only moderation and
//! registration save, and both are rare.
//!
//! If the path is a symbolic link, the file that it points to is replaced and the link stays. Renaming over the link would leave
//! the old file where a backup or the next program looks for the state.
//!
//! One process has the file. Two would overwrite each other's changes.

mod disk;
mod format;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use disk::{Disk, OsDisk};
pub use format::{read_record, write_record};

use crate::access::{AccessEntry, Ban, Mute, Registered};
use crate::text::clean;

/// The end of the name of the new file, which is renamed when it is complete.
const NEW_SUFFIX: &str = ".new";

/// Advice if the file can't be created or replaced.
const CREATE: &str = "the server must be able to create files in that folder";

/// The content of the state file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SavedState {
    pub registered: Vec<Registered>,
    pub bans: Vec<Ban>,
    pub mutes: Vec<Mute>,
}

impl SavedState {
    pub fn into_entries(self) -> impl Iterator<Item = AccessEntry> {
        let names = self.registered.into_iter().map(AccessEntry::Name);
        let bans = self.bans.into_iter().map(AccessEntry::Ban);
        names.chain(bans).chain(self.mutes.into_iter().map(AccessEntry::Mute))
    }
}

/// The state file.
#[derive(Debug)]
pub struct StateFile<D: Disk = OsDisk> {
    path: PathBuf,
    new_path: PathBuf,
    folder: PathBuf,
    disk: D,
}

impl<D: Disk> StateFile<D> {
    /// Reads the file, and checks that it can be replaced. If there is none, it is created with an empty state.
    ///
    /// # Errors
    /// The file is damaged (with line and column), can't be read or replaced, or has another version. An empty file is damaged
    /// too: a lost state is never taken for an empty one.
    pub fn open(path: &Path, mut disk: D) -> Result<(StateFile<D>, SavedState), String> {
        let place = |problem: &str| clean(&format!("{}:{problem}", path.display())).into_owned();
        let whole = |error: io::Error, advice: &str| place(&format!(" {error}; {advice}"));
        let path = disk.resolve(path).map_err(|error| whole(error, "name a file in a folder that exists"))?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(place(" it is a folder; name a file"));
        };
        let mut new_name = name.to_os_string();
        new_name.push(NEW_SUFFIX);
        let (folder, new_path) = (folder.to_path_buf(), folder.join(new_name));
        let mut file = StateFile { path, new_path, folder, disk };
        let state = match file.disk.read(&file.path) {
            Ok(text) => format::read(&text).map_err(|problem| {
                place(&format!("{problem}; repair it, or move it away to begin with an empty one"))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                file.replace(&SavedState::default()).map_err(|error| whole(error, CREATE))?;
                SavedState::default()
            }
            Err(error) => return Err(whole(error, "name a readable file")),
        };
        file.create_new()
            .and_then(|_| file.disk.remove(&file.new_path))
            .map_err(|error| whole(error, CREATE))?;
        Ok((file, state))
    }

    /// Replaces the content of the file, and returns when the disk has it.
    ///
    /// # Errors
    /// The disk is full or fails. The file has the old content, except that it may have the new one if the last step failed. The
    /// next call tries again.
    pub fn save(&mut self, state: &SavedState) -> Result<(), String> {
        let saved = self.replace(state);
        saved.map_err(|error| {
            let path = self.path.display();
            clean(&format!("{path}: {error}; the change is not saved and ends with this process"))
                .into_owned()
        })
    }

    fn replace(&mut self, state: &SavedState) -> io::Result<()> {
        let text = format::write(state)?;
        if let Err(error) = self.write_new(&text) {
            // An incomplete file is harmless, but takes space. `create_new` removes it too.
            let _ = self.disk.remove(&self.new_path);
            return Err(error);
        }
        self.disk.rename(&self.new_path, &self.path)?;
        self.disk.sync_folder(&self.folder)
    }

    fn write_new(&mut self, text: &[u8]) -> io::Result<()> {
        let mut file = self.create_new()?;
        let mut rest = text;
        while !rest.is_empty() {
            match self.disk.write(&mut file, rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.disk.sync(&mut file)
    }

    /// Creates the new file, in place of one that a crash has left.
    fn create_new(&mut self) -> io::Result<D::File> {
        match self.disk.remove(&self.new_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.disk.create(&self.new_path),
        }
    }
}
