//! What is measured anew takes the place of what there was of the same name.

/// All of `new`, and what `old` has besides, by the `order` of their names; what is not named there comes last.
pub fn over<T>(mut new: Vec<T>, old: Vec<T>, name: impl Fn(&T) -> &str, order: &[&str]) -> Vec<T> {
    let kept: Vec<T> =
        old.into_iter().filter(|one| !new.iter().any(|other| name(other) == name(one))).collect();
    new.extend(kept);
    new.sort_by_key(|one| order.iter().position(|known| *known == name(one)).unwrap_or(usize::MAX));
    new
}
