//! A fixed sequence of batches, so that what a store holds can be told: each batch writes its own number
//! too. A store must hold exactly what the first so many batches leave.

use contract::{Batch, Engine, EngineError};

use crate::model::{FAMILIES, Model};

/// What was found wrong.
pub(crate) type Loss = String;

pub(crate) fn told(error: EngineError) -> Loss {
    error.to_string()
}

/// A content is kept after every so many batches.
const STRIDE: usize = 32;

/// The batches, and the contents that they lead to.
pub(crate) struct Script {
    contents: Vec<Model>,
    batches: usize,
}

/// Keys and values of all lengths, so that pages split, join and overflow; deletions, of ranges too; and
/// from time to time nearly nothing is left.
pub(crate) fn batch(number: usize) -> Batch {
    let mut batch = Batch::default();
    batch.put("number", (number as u64).to_le_bytes());
    for i in 0..number % 4 {
        let pick = number * 31 + i * 17;
        let family = FAMILIES[[0, 0, 1, 0, 2, 0][pick % 6]];
        let mut key = format!("key{:03}", pick % 90).into_bytes();
        if pick.is_multiple_of(13) {
            key.resize(150, b'k');
        }
        match (number + i) % 5 {
            0 => batch.delete_in(family, key),
            _ => batch.put_in(family, key, vec![number as u8; pick * 13 % 100]),
        }
    }
    if number % 48 == 12 {
        batch.put(format!("large{}", number % 5), vec![number as u8; 1300]);
    }
    if number % 20 == 13 {
        let from = number * 7 % 90;
        let to = format!("key{:03}", from + 9).into_bytes();
        batch.delete_range(FAMILIES[number / 20 % 3], format!("key{from:03}"), Some(to));
    }
    if number % 160 == 159 {
        FAMILIES.iter().for_each(|family| batch.delete_range(*family, "key", Some(b"m".to_vec())));
    }
    batch
}

impl Script {
    /// The first so many batches.
    pub(crate) fn new(batches: usize) -> Self {
        let mut contents = vec![Model::default()];
        let mut content = Model::default();
        for number in 0..batches {
            content.apply(&batch(number));
            if (number + 1).is_multiple_of(STRIDE) {
                contents.push(content.clone());
            }
        }
        Self { contents, batches }
    }

    /// The content after so many batches.
    pub(crate) fn after(&self, batches: usize) -> Model {
        assert!(batches <= self.batches, "the script ends before batch {batches}");
        let mut content = self.contents[batches / STRIDE].clone();
        (batches / STRIDE * STRIDE..batches).for_each(|number| content.apply(&batch(number)));
        content
    }

    /// How many batches a store holds, which must say that it is intact; a loss if it is not exactly the
    /// content after so many.
    pub(crate) async fn held<E: Engine>(&self, store: &E) -> Result<usize, Loss> {
        store.verify().await.map_err(told)?;
        let number = store.get(b"number").await.map_err(told)?;
        let count = number.map_or(0, |n| u64::from_le_bytes(n.try_into().expect("eight bytes")) as usize + 1);
        if count > self.batches {
            return Err(format!("{count} batches are there, and nobody wrote so many"));
        }
        match self.after(count).difference(store).await {
            Some(difference) => Err(format!("the content is not that after {count} batches: {difference}")),
            None => Ok(count),
        }
    }
}
