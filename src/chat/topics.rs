//! Topics of rooms.

use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::protocol::{Change, Problem, Topic};
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
        if let Some(room) = self.rooms.existing(location.room) {
            match text {
                Some(Topic(text)) => {
                    ctx.submit((location.room, &room.name), Some(id), Change::Topic { by, text });
                }
                None => ctx.reply(id, room.topic_event()),
            }
        }
        Ok(())
    }
}
