//! The operations on files that the state file needs: [`Disk`], and the real one, [`OsDisk`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A disk with folders and files. Tests have one that fails or loses power at any operation.
pub trait Disk {
    /// A file that is being written.
    type File;

    /// The path without symbolic links. Its last part need not exist.
    ///
    /// # Errors
    /// The folder does not exist or can't be searched.
    fn resolve(&mut self, path: &Path) -> io::Result<PathBuf>;

    /// Reads a regular file.
    ///
    /// # Errors
    /// There is none (`NotFound`), it is another kind of file, or it can't be read.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;

    /// Creates a file that only this user can read (mode 0600).
    ///
    /// # Errors
    /// It exists or can't be created.
    fn create(&mut self, path: &Path) -> io::Result<Self::File>;

    /// Writes the first bytes, and returns their number.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until the content of a file is on the disk: `fsync(2)`.
    ///
    /// # Errors
    /// The disk fails. What has been written may be lost.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// Gives a file another name in place of the file that had it.
    ///
    /// # Errors
    /// Neither name has changed.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// There is none (`NotFound`), or it can't be removed.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk.
    ///
    /// # Errors
    /// The disk fails. Changes of names may be lost.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;
}

/// The disks of this machine.
#[derive(Debug)]
pub struct OsDisk;

impl Disk for OsDisk {
    type File = File;

    fn resolve(&mut self, path: &Path) -> io::Result<PathBuf> {
        let missing = match fs::canonicalize(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => error,
            resolved => return resolved,
        };
        let name = path.file_name().ok_or(missing)?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // The file of a link is missing. A circle of links is another error, so this ends.
        match fs::read_link(path) {
            Ok(target) => self.resolve(&folder.join(target)),
            Err(_) => Ok(fs::canonicalize(folder)?.join(name)),
        }
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // A pipe would block the server.
        match fs::metadata(path)?.is_file() {
            true => fs::read(path),
            false => Err(io::Error::other("it is no regular file")),
        }
    }

    fn create(&mut self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&mut self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}
