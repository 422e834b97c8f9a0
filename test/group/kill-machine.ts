import type { StateMachine } from '../../src/group/index.ts';

/** Takes 1, 2, 3 … in order and nothing else; `digest` depends on every one of them. */
export const numbers: StateMachine<{ last: number; digest: number }, { number: number }, never> = {
  name: 'numbers',
  version: 1,
  initial: () => ({ last: 0, digest: 0 }),
  apply(state, { number }) {
    if (number !== state.last + 1) return { state, effects: [], refused: { code: 'XOS_ORDER', message: `${number} after ${state.last}` } };
    return { state: { last: number, digest: (state.digest * 31 + number) >>> 0 }, effects: [] };
  },
};
