// Loaded before anything else by every process of a system (NODE_OPTIONS=--require …): its date is the machine's and so many
// milliseconds more, a float in the file that DORMOUSE_TEST_DATE names. Read each time, so that all processes see one
// date. Timers and performance.now() go on as they are, as they do on a machine whose clock is set.
const { openSync, readSync } = require('node:fs');

const file = openSync(process.env.DORMOUSE_TEST_DATE, 'r');
const bytes = Buffer.alloc(8);
const realNow = Date.now;

function now() {
  readSync(file, bytes, 0, 8, 0);
  return realNow() + bytes.readDoubleLE();
}

globalThis.Date = new Proxy(Date, {
  construct: (date, given, target) => Reflect.construct(date, given.length === 0 ? [now()] : given, target),
  apply: (date) => new date(now()).toString(),
  get: (date, name) => (name === 'now' ? now : Reflect.get(date, name)),
});
