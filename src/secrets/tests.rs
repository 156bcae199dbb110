//! What may be asked for and what may not, on real files and links.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    secrets: Secrets,
}

impl Place {
    /// A folder with `allowed/` on the list and `outside/` not.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["allowed", "outside", "allowed-not"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let files = vec![folder.path().join("never-made"), folder.path().join("allowed")];
        let secrets = Secrets::new(SecretsAllowed { files, env: vec!["PAT*".to_owned()] });
        Self { folder, secrets }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    async fn file(&self, path: &Path) -> Result<SecretText, SecretError> {
        self.secrets.directive(&Directive::File(path.to_str().unwrap().to_owned())).await
    }

    async fn is_refused(&self, path: &Path) -> bool {
        matches!(self.file(path).await, Err(SecretError::FileNotAllowed { .. }))
    }
}

#[tokio::test]
async fn reads_an_allowed_file_without_the_line_end_at_its_end() {
    let place = Place::new();
    for (content, secret) in
        [("s3cret\n", "s3cret"), ("s3cret", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\nb\n\n", "a\nb\n"), (" ", " ")]
    {
        let path = place.write("allowed/a", content);
        assert_eq!(place.file(&path).await.unwrap().expose(), secret, "{content:?}");
    }
}

#[tokio::test]
async fn an_empty_file_is_no_secret_and_names_itself_and_an_empty_secret_may_be_written() {
    let place = Place::new();
    for content in ["", "\n", "\r\n"] {
        let path = place.write("allowed/a", content);
        let error = place.file(&path).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{} is empty", path.display()));
        assert!(error.hint().unwrap().contains("is written as it is"));
        assert!(matches!(reference(&Reference::File(path)).await, Err(SecretError::Empty { .. })));
    }
    let written = Directive::Secret(SecretText::new(""));
    assert_eq!(place.secrets.directive(&written).await.unwrap().expose(), "");
    assert_eq!(reference(&Reference::Plain(SecretText::new(""))).await.unwrap().expose(), "");
}

#[tokio::test]
async fn law_9_nothing_outside_the_list_is_read_whichever_way_it_is_named() {
    let place = Place::new();
    let outside = place.write("outside/a", "canary");
    place.write("allowed-not/a", "canary");
    symlink(&outside, place.path("allowed/link")).unwrap();
    symlink(place.path("outside"), place.path("allowed/folder")).unwrap();
    symlink("../outside", place.path("allowed/relative")).unwrap();
    for name in [
        "outside/a",
        "allowed-not/a",
        "allowed/link",
        "allowed/folder/a",
        "allowed/relative/a",
        "allowed/../outside/a",
        "allowed/../outside/missing",
        "outside/missing",
        "outside",
    ] {
        let error = place.file(&place.path(name)).await.unwrap_err();
        assert!(matches!(error, SecretError::FileNotAllowed { .. }), "{name}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert!(error.to_string().contains("/allowed)"), "the list is named: {error}");
        // To add the folder that is on the list already would not help.
        let is_link = name.starts_with("allowed/") && !name.contains("..");
        assert_eq!(error.hint().unwrap().ends_with("the place it leads to is what counts"), is_link, "{name}");
    }
    assert!(matches!(place.file(Path::new("allowed/a")).await, Err(SecretError::NotAbsolute { .. })));
}

#[tokio::test]
async fn links_that_stay_within_the_list_are_followed() {
    let place = Place::new();
    fs::create_dir(place.path("allowed/..2024_01")).unwrap();
    place.write("allowed/..2024_01/sales", "s3cret\n");
    symlink("..2024_01", place.path("allowed/..data")).unwrap();
    symlink("..data/sales", place.path("allowed/sales")).unwrap();
    symlink(place.path("allowed"), place.path("another-way")).unwrap();
    assert_eq!(place.file(&place.path("allowed/sales")).await.unwrap().expose(), "s3cret");
    assert_eq!(place.file(&place.path("another-way/sales")).await.unwrap().expose(), "s3cret");
}

#[tokio::test]
async fn a_list_may_name_a_link_or_a_single_file() {
    let mut place = Place::new();
    let file = place.write("outside/one", "1");
    let other = place.write("outside/two", "2");
    symlink(place.path("outside"), place.path("link")).unwrap();
    place.secrets.allowed.files = vec![file.clone()];
    assert_eq!(place.file(&file).await.unwrap().expose(), "1");
    assert!(place.is_refused(&other).await);
    place.secrets.allowed.files = vec![place.path("link")];
    assert_eq!(place.file(&other).await.unwrap().expose(), "2");
    assert_eq!(place.file(&place.path("link/two")).await.unwrap().expose(), "2");
    assert!(place.is_refused(&place.write("allowed/a", "3")).await);
}

#[test]
fn law_9_a_link_swapped_in_between_leads_nowhere() {
    let place = Place::new();
    place.write("outside/a", "canary");
    fs::create_dir(place.path("allowed/sub")).unwrap();
    let path = place.write("allowed/sub/a", "fine");
    let allowed = &place.secrets.allowed.files;
    let found = locate(&path, allowed).unwrap();
    fs::remove_dir_all(place.path("allowed/sub")).unwrap();
    symlink(place.path("outside"), place.path("allowed/sub")).unwrap();
    let error = open_found(&found, &path, allowed).unwrap_err();
    assert!(matches!(error, SecretError::FileNotAllowed { .. }), "a folder on the way became a link: {error:?}");

    let found = place.write("allowed/b", "fine").canonicalize().unwrap();
    fs::remove_file(&found).unwrap();
    symlink(place.path("outside/a"), &found).unwrap();
    assert!(open_found(&found, &found, allowed).is_err(), "the file became a link");
}

#[test]
fn law_9_a_race_of_links_is_never_won() {
    let place = Place::new();
    place.write("outside/a", "canary");
    fs::create_dir(place.path("allowed/real")).unwrap();
    place.write("allowed/real/a", "fine");
    symlink("real", place.path("allowed/way")).unwrap();
    let (path, allowed) = (place.path("allowed/way/a"), place.secrets.allowed.files.clone());
    let done = std::sync::atomic::AtomicBool::new(false);
    let (mut read_fine, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let next = place.path("allowed/next");
                symlink(if n % 2 == 0 { "../outside" } else { "real" }, &next).unwrap();
                fs::rename(next, place.path("allowed/way")).unwrap();
            }
        });
        for _ in 0..3000 {
            match open_allowed(&path, &allowed).and_then(|file| read(&file, &path)) {
                Ok(text) => {
                    assert_eq!(text.expose(), "fine");
                    read_fine += 1;
                }
                Err(_) => refused += 1,
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(read_fine > 0 && refused > 0, "both sides of the race were seen: {read_fine} {refused}");
}

#[tokio::test]
async fn what_is_no_short_text_file_is_refused_without_hanging() {
    let place = Place::new();
    let long = place.write("allowed/long", vec![b'x'; 1024 * 1024 + 1]);
    assert!(matches!(place.file(&long).await, Err(SecretError::TooLong { .. })));
    let just = place.write("allowed/just", vec![b'x'; 1024 * 1024]);
    assert_eq!(place.file(&just).await.unwrap().expose().len(), 1024 * 1024);
    let binary = place.write("allowed/binary", b"canary\xff");
    let error = place.file(&binary).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert!(matches!(place.file(&place.path("allowed")).await, Err(SecretError::NotAFile { .. })));
    let pipe = place.path("allowed/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(place.file(&pipe).await, Err(SecretError::NotAFile { .. })));
    assert!(matches!(place.file(&place.path("allowed/missing")).await, Err(SecretError::Read { .. })));
}

#[tokio::test]
async fn variables_go_by_pattern() {
    let secrets = Place::new().secrets;
    let env = |name: &str| Directive::Env(name.to_owned());
    assert_eq!(secrets.directive(&env("PATH")).await.unwrap().expose(), std::env::var("PATH").unwrap());
    assert!(matches!(secrets.directive(&env("PATH_NOT_SET")).await, Err(SecretError::EnvMissing { .. })));
    let error = secrets.directive(&env("HOME")).await.unwrap_err();
    assert_eq!(error.to_string(), "the environment variable HOME is not among those allowed (PAT*)");
    assert_eq!(error.hint().unwrap(), "the agent's operator can add HOME to secrets.env");
}

#[tokio::test]
async fn permission_is_known_without_reading() {
    let place = Place::new();
    let file = |name: &str| Directive::File(place.path(name).to_str().unwrap().to_owned());
    assert!(place.secrets.permit(&file("allowed/not-yet")).is_ok());
    assert!(place.secrets.permit(&file("outside/not-yet")).is_err());
    assert!(place.secrets.permit(&Directive::Secret(SecretText::new("x"))).is_ok());
    assert!(place.secrets.permit(&Directive::Python("1".to_owned())).is_err());
}

#[tokio::test]
async fn the_settings_own_references_may_name_anything() {
    let place = Place::new();
    let path = place.write("outside/password", "s3cret\n");
    assert_eq!(reference(&Reference::File(path)).await.unwrap().expose(), "s3cret");
    assert_eq!(reference(&Reference::Env("PATH".to_owned())).await.unwrap().expose(), std::env::var("PATH").unwrap());
    assert_eq!(reference(&Reference::Plain(SecretText::new("p"))).await.unwrap().expose(), "p");
}
