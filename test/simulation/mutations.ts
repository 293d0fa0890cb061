/** A bug, planted into one place of our own code, and the invariant that must break for it. */
export interface Mutation {
  readonly name: string;
  readonly file: string;
  /** Found exactly once in the file. */
  readonly text: string;
  readonly bug: string;
  readonly breaks: string;
}

const lost = 'nothing published is lost';
const early = 'nothing is published that was not committed';
const once = 'effects happen once';
const fold = 'state is the fold of the log';
const timers = 'a timer fires once, or is cancelled';
const order = 'what has an ordering key keeps the order of commits';
const settling = 'an ordered subscription settles in order';
const reason = 'no delivery ends without a reason';

const delivery = 'packages/core/src/delivery-run.ts';
const failed = 'packages/core/src/failed-attempt.ts';
const store = 'packages/local/src/state-store.ts';

export const mutations: readonly Mutation[] = [
  {
    name: 'a delivery is acknowledged before its commit',
    file: 'packages/core/src/push-endpoint.ts',
    text: '    await settle(subscription, delivery, marks);',
    bug: '    void settle(subscription, delivery, marks).catch(() => {});',
    breaks: lost,
  },
  {
    name: 'the inbox knows events, and not who took them',
    file: 'packages/core/src/order.ts',
    text: "refOf('inbox', derivedId(subscription, ...event))",
    bug: "refOf('inbox', derivedId(...event))",
    breaks: lost,
  },
  {
    name: 'the outbox is cleared before the broker has the messages',
    file: 'packages/core/src/relay.ts',
    text: '        await this.#publisher.publish(',
    bug: '        await this.#store.sent(batch.map(({ unsent }) => unsent.id));\n        await this.#publisher.publish(',
    breaks: lost,
  },
  {
    name: 'messages are published before their commit',
    file: 'packages/core/src/commit.ts',
    text: '      const committed = await store.commit(unit);',
    bug: '      await relay?.send(unit.publish.map((message, index) => ({ id: String(-index - 1), message })));\n      const committed = await store.commit(unit);',
    breaks: early,
  },
  {
    name: 'the inbox is not asked',
    file: delivery,
    text: '    if (this.#isTried(inbox)) {',
    bug: '    if (this.#isTried(inbox) && this.#attempt.number < 0) {',
    breaks: once,
  },
  {
    name: 'what was read may have moved',
    file: store,
    text: '    if (moved.length > 0) throw new ConflictError(moved);',
    bug: '',
    breaks: once,
  },
  {
    name: 'the log has nothing of what changed',
    file: 'packages/core/src/step.ts',
    text: 'changed.set(ref, difference(commitmentOf(before) ?? before, data))',
    bug: 'changed.set(ref, [])',
    breaks: fold,
  },
  {
    name: 'the generation of a timer is not looked at',
    file: delivery,
    text: '    if (this.#isReplaced(timer, owner)) return',
    bug: '    if (timer?.data === null) return',
    breaks: timers,
  },
  {
    name: 'a timer that is cancelled stays',
    file: 'packages/core/src/step.ts',
    text: '    this.#written.set(ref, { data: null, logged: false });',
    bug: '',
    breaks: timers,
  },
  {
    name: 'the relay sends the newest first',
    file: store,
    text: "'SELECT id FROM outbox WHERE workflow = ? ORDER BY id LIMIT ?'",
    bug: "'SELECT id FROM outbox WHERE workflow = ? ORDER BY id DESC LIMIT ?'",
    breaks: order,
  },
  {
    name: 'nobody waits behind an event of the same workflow',
    file: delivery,
    text: '    if (place?.isBehind) return',
    bug: '    if (place?.isBehind && this.#attempt.number < 0) return',
    breaks: settling,
  },
  {
    name: 'those behind a dead letter go on without it',
    file: failed,
    text: "    if (order?.poison === 'park') {",
    bug: '    if (order !== undefined) {',
    breaks: settling,
  },
  {
    name: 'a retry is decided on, and no timer set for it',
    file: failed,
    text: 'data: { ...retry }, dueAfterMs: afterMs }',
    bug: 'data: { ...retry } }',
    breaks: reason,
  },
  {
    name: 'a dead letter has no record',
    file: failed,
    text: '      { ref: refOf(deadLetters, key), data: { ...letter } },',
    bug: '',
    breaks: reason,
  },
];
