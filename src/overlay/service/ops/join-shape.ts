import type { ApiCaller } from '../../../api/registry.ts';
import type { OverlayOperations, ShapeNeighbour } from '../../../api/operations/overlay.ts';
import { XosError } from '../../../core/errors.ts';
import { keyOf, type Value } from '../../dht/index.ts';
import { parseShape, type Entry, type Shape } from '../../shapes/index.ts';
import type { RunningOverlay } from '../handle.ts';
import { limits } from '../limits.ts';
import { principalOf } from '../principal.ts';
import { split } from '../transport.ts';

type JoinShape = OverlayOperations['shape-join'];

/**
 * xosd.sock `shape-join`: this node takes a position in a shape of the caller's application until the caller goes away; each change of the neighbours
 * is told. Members find each other by the DHT. One member a node: it is nodes that are arranged. Throws XOS_BAD_SHAPE, XOS_BAD_ARGUMENT, XOS_BUSY, XOS_DENIED.
 */
export async function* joinShape(service: RunningOverlay, caller: ApiCaller, request: JoinShape['request'], signal: AbortSignal): AsyncGenerator<JoinShape['progress'], JoinShape['response'], void> {
  const { context } = service.options;
  principalOf(context, caller, 'take part in a shape');
  const shape = parseShape(String(request.shape), Number(request.size));
  const position = Number(request.position);
  if (!Number.isInteger(position) || position < 0 || position >= shape.size) throw new XosError('XOS_BAD_ARGUMENT', `position ${String(request.position)} is not one of 0 to ${shape.size - 1}`);
  if (typeof request.name !== 'string' || !/^[\w.:-]{1,64}$/.test(request.name)) throw new XosError('XOS_BAD_ARGUMENT', 'a shape must have a name of letters, digits and _ . : -, at most 64');
  const name = `${context.vo}/${caller.uid}/${request.name}`;
  const { shapes } = service.parts;
  let neighbours: readonly Entry[] = [];
  let [changed, wake] = [true, (): void => {}];
  const tell = (found: readonly Entry[]): void => {
    [neighbours, changed] = [found, true];
    wake();
  };
  if (!shapes.join(0, { name, shape, position, seeds: [], changed: tell })) throw new XosError('XOS_BUSY', `this node has a member of '${request.name}' already, or of too many shapes; each node has one position`, { name: request.name });
  const ending = new AbortController();
  const meeting = meet(service, name, shape, position, AbortSignal.any([signal, ending.signal]));
  const aborted = (): void => wake();
  signal.addEventListener('abort', aborted);
  try {
    while (!signal.aborted) {
      if (!changed) {
        await new Promise<void>((resolve) => { wake = resolve; });
        continue;
      }
      changed = false;
      yield { neighbours: neighbours.flatMap((entry) => rowOf(service, entry)) };
    }
  } finally {
    signal.removeEventListener('abort', aborted);
    shapes.leave(0, name);
    ending.abort();
    await meeting;
  }
  return {};
}

function rowOf({ parts }: RunningOverlay, { peer, position }: Entry): ShapeNeighbour[] {
  const descriptor = parts.known.descriptor(peer);
  return descriptor === null ? [] : [{ position, node: descriptor.node, address: split(descriptor.addresses[0] ?? '')[0] }];
}

/** Leaves the own descriptor in one of the places of the directory, and reads the others, until the shape stands on its own. */
async function meet(service: RunningOverlay, name: string, shape: Shape, position: number, signal: AbortSignal): Promise<void> {
  const { clock } = service.options.context.ports;
  const places = Math.min(limits.shape_places, shape.size);
  for (let pause_ms: number = limits.shape_meet_ms; !signal.aborted; pause_ms = Math.min(pause_ms * 2, limits.shape_meet_ms_max)) {
    const { dht, known, shapes } = service.parts;
    const own: Value = { version: Math.floor(clock.now_ms()), life_ms: limits.shape_life_ms, bytes: memberBytes(position, known.encoded(0)) };
    await new Promise<void>((resolve) => dht.put(0, keyOf(`shape\n${name}\n${position % places}`), own, () => resolve()));
    const found = await Promise.all(Array.from({ length: places }, (_, place) =>
      new Promise<Value | null>((resolve) => dht.get(0, keyOf(`shape\n${name}\n${place}`), ({ value }) => resolve(value)))));
    const seeds = found.flatMap((value) => {
      const member = value === null ? null : memberOf(value.bytes);
      const peer = member === null || member.position === position ? -1 : known.admit(member.encoded);
      return member === null || peer <= 0 ? [] : [{ peer, position: member.position, age: 1 }];
    });
    shapes.learn(0, name, seeds);
    await clock.sleep(pause_ms, signal).catch(() => {});
  }
}

function memberBytes(position: number, encoded: Uint8Array): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(position);
  return Buffer.concat([head, encoded]);
}

/** null when it is too short; the descriptor is checked by the Book. */
function memberOf(bytes: Uint8Array): { readonly position: number; readonly encoded: Uint8Array } | null {
  return bytes.length < 5 ? null : { position: Buffer.from(bytes).readUInt32LE(0), encoded: bytes.subarray(4) };
}
