import { XosError } from '../core/errors.ts';
import { ControlServer, type ControlCall } from '../platform/control.ts';
import type { Log, Network } from '../core/ports.ts';
import type { Service } from '../core/service.ts';
import type { ApiCaller, ApiRegistry } from './registry.ts';

export interface ApiServerOptions {
  readonly network: Network;
  readonly log: Log;
  readonly path: string;
  readonly registry: ApiRegistry;
  /** The member with this uid; null when it is none. */
  readonly identify: (uid: number) => { readonly user: string; readonly vo: string } | null;
}

/** /run/xos/xosd.sock, mode 0666: the caller is who the kernel says. */
export function apiServer(options: ApiServerOptions): Service {
  const server = new ControlServer(options, options.path, 0o666, (op, fields, call) => answer(options, op, fields, call));
  return { name: 'api', start: () => server.start(), stop: () => server.stop() };
}

async function answer(options: ApiServerOptions, op: string, fields: Record<string, unknown>, call: ControlCall): Promise<object> {
  const handler = options.registry.get(op);
  if (handler === null) {
    throw new XosError('XOS_NO_OPERATION', `operation '${op.slice(0, 80)}' is not served by this node now; 'xnode status' says in which state it is`, { op: op.slice(0, 80) });
  }
  const { pid, uid, gid } = call.peer;
  const member = options.identify(uid);
  const caller: ApiCaller = { pid, uid, gid, user: member?.user ?? null, vo: member?.vo ?? null };
  const answered = handler(caller, fields, call.signal);
  if (!(Symbol.asyncIterator in answered)) return await answered;
  for (;;) {
    call.signal.throwIfAborted();
    const step = await answered.next();
    if (step.done === true) return step.value;
    call.progress(step.value);
  }
}
