// What an admin can do with a run: cancel it or retry it.

import { h } from '../dom.js';
import { admin } from '../net/admin.js';
import { confirmDialog } from '../views/dialog.js';
import { showToast, tryAction } from '../views/toast.js';
import { isOpen, shortId } from './format.js';

/** The button for a run's state, or null. `done` is called after the request, whether or not it succeeded. */
export function actionButton(run, done) {
  if (isOpen(run.status)) return button('Cancel', 'cancel', () => cancel(run, done));
  if (run.status === 'succeeded') return null;
  return button('Retry', 'retry', () => retry(run, done));
}

const button = (label, name, onclick) => h('button', { type: 'button', class: 'button small', 'data-act': name, onclick }, label);

async function cancel(run, done) {
  const confirmed = await confirmDialog({
    title: 'Cancel the run?', text: `Run ${shortId(run.run_id)} ends without a reply. Changes that its tools made are kept.`, action: 'Cancel the run',
  });
  if (confirmed) await tryAction(() => admin.cancel(run.run_id));
  done();
}

async function retry(run, done) {
  if (await tryAction(() => admin.retry(run.run_id))) showToast(`Run ${shortId(run.run_id)} has been queued again.`);
  done();
}
