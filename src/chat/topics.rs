//! Topics of rooms.

use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::protocol::{Problem, Topic};
use crate::text::RoomName;

impl Chat {
    /// Sends a client the topic of a room, or changes it and announces that.
    pub(super) fn topic(
        &mut self,
        id: ClientId,
        room: Option<RoomName>,
        text: Option<Topic>,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let location = self.locate(id, room)?;
        let by = self.existing_name(id);
        let Some(room) = self.rooms.existing_mut(location.room) else {
            return Ok(());
        };
        match text {
            None => ctx.reply(id, room.topic_event()),
            Some(Topic(text)) => {
                room.set_topic(by, text);
                // The answer has the `id` of the request, and the announcement has none.
                ctx.reply(id, room.topic_event());
                ctx.announce(location.room, Some(id), room.topic_event());
            }
        }
        Ok(())
    }
}
