import type { StateMachine } from '../group/index.ts';

/**
 * What the DIR must not forget: which servers there ever were (a file's data may be on one that is down now) and the key of each pair
 * of metadata and object server (capabilities that are out stay good over a restart of the DIR). Everything else is heard again within
 * seconds.
 */
export interface DirState {
  /** Server id (the node's name) → when it was first seen, milliseconds since 1970. */
  readonly osds: Readonly<Record<string, { readonly since_ms: number }>>;
  readonly mrcs: Readonly<Record<string, { readonly since_ms: number }>>;
  /** `mrc osd` → key, 64 hexadecimal digits. */
  readonly keys: Readonly<Record<string, string>>;
}

export type DirCommand =
  | { readonly kind: 'osd-add'; readonly osd: string; readonly at_ms: number }
  | { readonly kind: 'mrc-add'; readonly mrc: string; readonly at_ms: number }
  /** Ignored when the pair has a key already: two that ask at once get the same one. */
  | { readonly kind: 'key-add'; readonly mrc: string; readonly osd: string; readonly key: string }
  /** The node was put out of the VO. Its keys are gone too: should it come back, it gets new ones. */
  | { readonly kind: 'server-remove'; readonly node: string };

export const pairOf = (mrc: string, osd: string): string => `${mrc} ${osd}`;

export const dirMachine: StateMachine<DirState, DirCommand, never> = {
  name: 'dir',
  version: 1,
  initial: () => ({ osds: {}, mrcs: {}, keys: {} }),
  apply(state, command) {
    switch (command.kind) {
      case 'osd-add': return plain(command.osd in state.osds ? state : { ...state, osds: { ...state.osds, [command.osd]: { since_ms: command.at_ms } } });
      case 'mrc-add': return plain(command.mrc in state.mrcs ? state : { ...state, mrcs: { ...state.mrcs, [command.mrc]: { since_ms: command.at_ms } } });
      case 'key-add': return plain(addKey(state, command));
      case 'server-remove': return plain(remove(state, command.node));
      default: return { state, effects: [], refused: { code: 'XOS_BAD_ARGUMENT', message: 'the DIR does not know this command' } };
    }
  },
};

function addKey(state: DirState, { mrc, osd, key }: Extract<DirCommand, { kind: 'key-add' }>): DirState {
  const pair = pairOf(mrc, osd);
  if (pair in state.keys || !(mrc in state.mrcs) || !(osd in state.osds)) return state;
  return { ...state, keys: { ...state.keys, [pair]: key } };
}

function remove(state: DirState, node: string): DirState {
  const without = <T>(record: Readonly<Record<string, T>>, gone: (name: string) => boolean): Record<string, T> =>
    Object.fromEntries(Object.entries(record).filter(([name]) => !gone(name)));
  const isNode = (name: string): boolean => name === node;
  return { osds: without(state.osds, isNode), mrcs: without(state.mrcs, isNode), keys: without(state.keys, (pair) => pair.split(' ').includes(node)) };
}

const plain = (state: DirState): { state: DirState; effects: readonly never[] } => ({ state, effects: [] });
