//! Sorting what nearly is in order, and finding what is near: operations come in the order of their returns, and
//! so do their invocations but for what was open at once.

/// The numbers below `count` in the order of their keys, equal ones in their own order.
///
/// Each is put near where it belongs, as the keys are spread evenly, and moved from there: linear, unless
/// many keys are close together.
pub(crate) fn sorted(count: usize, key: impl Fn(u32) -> u32) -> Vec<u32> {
    let all = || 0..count as u32;
    let (mut low, mut high) = (u32::MAX, 0);
    for number in all() {
        let key = key(number);
        (low, high) = (low.min(key), high.max(key));
    }
    let span = u64::from(high.saturating_sub(low)) + 1;
    let slot = |number: u32| (u64::from(key(number) - low) * count as u64 / span) as usize;
    let slots: Vec<u32> = all().map(|number| slot(number) as u32).collect();
    let mut starts = vec![0_u32; count + 1];
    for slot in &slots {
        starts[*slot as usize + 1] += 1;
    }
    for slot in 0..count {
        starts[slot + 1] += starts[slot];
    }
    let mut sorted = vec![0; count];
    for (number, slot) in all().zip(slots) {
        let next = &mut starts[slot as usize];
        sorted[*next as usize] = number;
        *next += 1;
    }
    // Each start has become the end of its slot.
    let mut from = 0;
    for end in &starts[..count] {
        let end = *end as usize;
        if end > from + 1 {
            sorted[from..end].sort_by_key(|number| key(*number));
        }
        from = end;
    }
    sorted
}

/// How many of `items` are low, where the low ones come first. It takes time logarithmic in how far before `near`
/// they end: all from there on are high.
pub(crate) fn low<T>(items: &[T], near: usize, is_low: impl Fn(&T) -> bool) -> usize {
    let (mut high, mut step) = (near, 1);
    while high > 0 {
        let at = high.saturating_sub(step);
        if is_low(&items[at]) {
            return at + items[at..high].partition_point(is_low);
        }
        (high, step) = (at, step * 2);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::{low, sorted};
    use crate::generate::Draw;

    #[test]
    fn it_sorts_and_keeps_the_order_of_equals() {
        let mut draw = Draw(1);
        for round in 0..300_u32 {
            let spread = [3, 40, u32::MAX][round as usize % 3];
            let keys: Vec<u32> = (0..round).map(|_| draw.below(spread)).collect();
            let mut expected: Vec<u32> = (0..round).collect();
            expected.sort_by_key(|number| keys[*number as usize]);
            assert_eq!(sorted(keys.len(), |number| keys[number as usize]), expected);
        }
    }

    #[test]
    fn it_counts_what_is_low() {
        for count in 0..40 {
            let items: Vec<usize> = (0..40).collect();
            for near in count..=40 {
                assert_eq!(low(&items, near, |item| *item < count), count, "from {near}");
            }
        }
    }
}
