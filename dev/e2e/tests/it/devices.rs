//! One conversation in two tabs and on two devices.

use errand_model::{Behaviour, Gate, Script};
use errand_testkit::TestApp;

use crate::stage::Stage;

#[tokio::test]
async fn two_tabs_and_a_second_device_see_each_others_messages() {
    Stage::play(TestApp::builder(), async |stage| {
        let (user, first) = stage.user().await;
        first.say("Add a task to buy milk").await;
        first.until_turns(1).await;
        let place = first.js("return location.hash").await;

        let second = first.another_tab().await;
        second.open(place.as_str().unwrap()).await;
        second.until_turns(1).await;
        let phone = stage.device().await;
        phone.log_in(&user).await;
        phone.open(place.as_str().unwrap()).await;
        phone.until_turns(1).await;

        second.say("Add a task to water the plants").await;
        for page in [&first, &second, &phone] {
            page.until_turns(2).await;
            assert_eq!(
                page.texts(".bubble").await,
                ["Add a task to buy milk", "Add a task to water the plants"]
            );
            page.until("both tasks", "document.querySelectorAll('.task').length === 2")
                .await;
        }
        phone.say("Mark task 1 as done").await;
        for page in [&first, &second] {
            page.until_turns(3).await;
            page.until(
                "one task is done",
                "document.querySelectorAll('.task.completed').length === 1",
            )
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn messages_of_two_tabs_at_once_queue_up_in_one_order() {
    let gate = Gate::new();
    let builder = TestApp::builder();
    Stage::play(builder, async |stage| {
        stage.app.model.script(
            Script::new()
                .when("slow", [Behaviour::reply("The slow answer.").behind(&gate)])
                .when("quick", [Behaviour::reply("The quick answer.")]),
        );
        let (_, first) = stage.user().await;
        first.say("slow").await;
        gate.wait_arrived(1).await;
        let place = first.js("return location.hash").await;
        let second = first.another_tab().await;
        second.open(place.as_str().unwrap()).await;
        second
            .until(
                "the open run",
                "document.querySelector('.turn[data-state=running]')",
            )
            .await;
        second.say("quick").await;
        second
            .until(
                "the second message waits",
                "document.querySelectorAll('.turn[data-state=queued]').length === 1",
            )
            .await;
        gate.release();
        for page in [&first, &second] {
            page.until_turns(2).await;
            // What another tab has said comes with the stored messages, its answer with the events.
            page.until(
                "both messages",
                "document.querySelectorAll('.bubble').length === 2",
            )
            .await;
            assert_eq!(page.texts(".bubble").await, ["slow", "quick"]);
            assert_eq!(
                page.texts(".answer").await,
                ["The slow answer.", "The quick answer."]
            );
        }
    })
    .await;
}
