//! The topic of a room is the same at all processes, whatever fails while it is set.

use std::time::Duration;

use crate::redis_access::Moderated;

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn expect_topic(chat: &mut Moderated, topic: &str) {
    for process in 0..2 {
        let answer = chat.order(process, "/topic");
        assert!(answer.contains(topic), "at {process}: {answer}");
    }
}

#[test]
fn topic_set_while_a_process_is_cut_off_is_the_same_everywhere_later() {
    for millis in [500, 30_000] {
        let mut chat = Moderated::new();
        chat.order(0, "/topic tea");
        chat.cluster.pass(10 * SECOND);
        chat.cluster.conns(0).into_iter().for_each(|conn| chat.cluster.redis.kill(conn));
        chat.cluster.run();
        chat.cluster.set_cut_off(0, true);
        chat.order(1, "/topic milk");
        chat.cluster.pass(Duration::from_millis(millis));
        chat.cluster.set_cut_off(0, false);
        chat.cluster.pass(10 * SECOND);
        expect_topic(&mut chat, "milk");
        chat.cluster.end();
    }
}

#[test]
fn topic_whose_reply_was_lost_does_not_undo_a_later_topic_of_another_process() {
    let mut chat = Moderated::new();
    chat.cluster.lose_replies(0);
    chat.order(0, "/topic tea");
    chat.order(1, "/topic milk");
    chat.cluster.pass(30 * SECOND);
    expect_topic(&mut chat, "milk");
    chat.cluster.end();
}

#[test]
fn topic_set_at_a_process_without_redis_is_that_of_all_later() {
    let mut chat = Moderated::new();
    chat.order(1, "/topic tea");
    chat.cluster.set_cut_off(0, true);
    chat.cluster.pass(30 * SECOND);
    chat.order(0, "/topic milk");
    chat.order(1, "/topic water");
    assert!(chat.order(0, "/topic").contains("milk"));
    chat.cluster.set_cut_off(0, false);
    chat.cluster.pass(10 * SECOND);
    expect_topic(&mut chat, "milk");
    chat.cluster.end();
}

#[test]
fn expiry_of_a_room_begins_anew_when_its_topic_is_set() {
    const WEEK_MILLIS: u64 = 7 * 24 * 3_600 * 1_000;
    let mut chat = Moderated::new();
    let left_millis = |chat: &Moderated| {
        chat.cluster.redis.ttl_millis("chinwag:@meta:lobby", chat.cluster.millis()).expect("an expiry")
    };
    chat.cluster.pass(600 * SECOND);
    assert!(left_millis(&chat) <= WEEK_MILLIS - 600_000);
    chat.order(0, "/topic tea");
    assert!(left_millis(&chat) >= WEEK_MILLIS - 60_000);
    chat.cluster.end();
}
