//! One conversation in several tabs and on several devices.

use errand_fake_model::{Behaviour, Gate};
use errand_testkit::TestApp;

use crate::browser_test::{BrowserTest, GATED_ANSWER, gated_script};

#[tokio::test]
async fn tabs_and_devices_see_each_others_messages() {
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given a conversation that is open in two tabs and on a phone.
        let (user, first) = test.signed_in_user().await;
        first.send_message("Add a task to buy milk").await;
        first.wait_for_answered_messages(1).await;
        let conversation = first.fragment().await;
        let second = first.new_tab().await;
        second.open(&conversation).await;
        second.wait_for_answered_messages(1).await;
        let phone = test.new_device().await;
        phone.sign_in(&user).await;
        phone.open(&conversation).await;
        phone.wait_for_answered_messages(1).await;

        second.send_message("Add a task to water the plants").await;
        for page in [&first, &second, &phone] {
            page.wait_for_answered_messages(2).await;
            assert_eq!(
                page.messages().await,
                ["Add a task to buy milk", "Add a task to water the plants"]
            );
            page.wait_for_count(".task", 2).await;
        }

        phone.send_message("Mark task 1 as done").await;
        for page in [&first, &second] {
            page.wait_for_answered_messages(3).await;
            page.wait_for_count(".task.completed", 1).await;
        }
    })
    .await;
}

#[tokio::test]
async fn messages_of_two_tabs_are_answered_in_the_order_sent() {
    let gate = Gate::new();
    BrowserTest::run(TestApp::builder(), async |test| {
        // Given a message in progress.
        let script = gated_script(&gate).when("quick", [Behaviour::reply("The quick answer.")]);
        test.app.model.script(script);
        let (_, first) = test.signed_in_user().await;
        first.send_message("wait").await;
        gate.wait_arrived(1).await;

        // When another tab sends a second message, it waits in the queue.
        let second = first.new_tab().await;
        second.open(&first.fragment().await).await;
        second.wait_for_turn("running").await;
        second.send_message("quick").await;
        second.wait_for_count(".turn[data-state=queued]", 1).await;
        gate.release();

        // Then both tabs show both answers in order.
        for page in [&first, &second] {
            page.wait_for_answered_messages(2).await;
            assert_eq!(page.messages().await, ["wait", "quick"]);
            assert_eq!(page.answers().await, [GATED_ANSWER, "The quick answer."]);
        }
    })
    .await;
}
