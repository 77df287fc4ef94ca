//! A second store with the content of this moment. Sealed segments never change, so the checkpoint
//! has hard links to them; what the active segment holds is copied.

use contract::{EngineError, File, Fs, FsError, OpenMode};

use super::LogStore;
use super::merged::hint_name;
use super::segment::Kind;
use crate::log::HEADER_BYTES;
use crate::paths;
use crate::read::read_at;

impl<F: Fs> LogStore<F> {
    pub(super) async fn checkpoint_into(&self, dir: &str) -> Result<(), EngineError> {
        let fs = &self.0.fs;
        let (seq, sealed, active, end) = {
            let state = self.0.state.borrow();
            (state.seq, state.sealed.clone(), state.active.clone(), state.active.bytes())
        };
        assert!(dir != &*self.0.dir, "a checkpoint is another store");
        assert!(
            sealed.iter().all(|segment| segment.number() < active.number()),
            "the active segment is last"
        );
        // All of them are durable before they are linked, and none of them changes afterwards.
        self.sync_up_to(seq).await?;
        paths::create_dir_durably(fs, dir).await?;
        for segment in &sealed {
            paths::link_or_copy(fs, &segment.path(&self.0.dir), &segment.path(dir)).await?;
            if segment.kind() == Kind::Merged {
                let hint = hint_name(segment.number());
                let (from, to) = (format!("{}/{hint}", self.0.dir), format!("{dir}/{hint}"));
                match paths::link_or_copy(fs, &from, &to).await {
                    // A store can do without: it was damaged or taken away.
                    Err(FsError::NotFound { .. }) => {}
                    linked => linked?,
                }
            }
        }
        if end > HEADER_BYTES as u64 {
            let source = active.log().file_up_to(end).expect("what is durable is in a file");
            let bytes = read_at(&source, 0, end as usize).await?;
            assert_eq!(bytes.len() as u64, end, "what is durable can be read");
            let copy = fs.open(&active.path(dir), OpenMode::Truncate).await?;
            copy.write_at(0, bytes).await.0?;
            copy.sync_data().await?;
            self.count(|stats| stats.bytes_written_to_files += end);
        }
        fs.sync_dir(dir).await?;
        Ok(())
    }
}
