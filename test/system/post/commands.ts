import { command, deadLetters, refOf } from '@dormouse/core';

const discard = command<{ readonly id: string; readonly reason: string }, { deadLetterId: string }>({
  name: 'discard',
  route: 'POST /api/dead-letters/:id/discard',
  parse: ({ body, params }) => ({ id: params.id!, reason: JSON.parse(body).reason }),
  subject: ({ id }) => ({ ref: refOf(deadLetters, id) }),
  async run({ id, reason }, step) {
    await step.discard(id, reason);
    return { deadLetterId: id };
  },
});

export default [discard];
