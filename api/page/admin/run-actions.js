// What an admin can do with a run: end it, or try it again.

import { h } from '../dom.js';
import { admin } from '../net/admin.js';
import { confirmed, note, tried } from '../views/notes.js';
import { isOpen, short } from './words.js';

/** The button that fits a run's state, if any; `done` is called when it has done its work, or failed to. */
export function actions(run, done) {
  if (isOpen(run.status)) return button('Cancel', 'cancel', () => cancel(run, done));
  if (run.status === 'succeeded') return null;
  return button('Retry', 'retry', () => retry(run, done));
}

const button = (label, act, onclick) => h('button', { type: 'button', class: 'button small', 'data-act': act, onclick }, label);

async function cancel(run, done) {
  const sure = await confirmed({
    title: 'Cancel the run?', text: `${short(run.run_id)} ends without a reply. What its tools have done stays done.`, action: 'Cancel the run',
  });
  if (sure) await tried(() => admin.cancel(run.run_id));
  done();
}

async function retry(run, done) {
  if (await tried(() => admin.retry(run.run_id))) note(`${short(run.run_id)} is queued again.`);
  done();
}
