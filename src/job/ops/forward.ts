import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';
import type { ControlMessage } from '../../core/control.ts';
import { JobServiceDefinition, type ForwardEvent, type ForwardRequest } from '../../proto/xos/job/v1/job.ts';
import { badArgument, noJob, notYours } from '../errors.ts';
import { findTarget } from '../find-job.ts';
import { isAdmin, type Asker, type Jobs } from '../jobs.ts';

/** Operations of the relay that a job's home carries out for any node (docs/architecture.md, relayd.ctl). */
export const forwarded = ['checkpoint', 'check', 'restore', 'migrate'] as const;
export type Forwarded = (typeof forwarded)[number];

/**
 * Runs a checkpoint operation on the job's home, from whichever node. For src/checkpoint, which decides names and directories; this
 * only finds the job and passes the relay's answer and progress back.
 * @param fields what relayd.ctl takes besides job and uid
 * @throws the relay's error as it is, XOS_NO_JOB, XOS_DENIED, XOS_UNAVAILABLE when the home does not answer
 */
export async function forward(
  jobs: Jobs, asker: Asker, operation: Forwarded, job: string, fields: ControlMessage,
  options: { signal: AbortSignal; onProgress?: (progress: ControlMessage) => void },
): Promise<ControlMessage> {
  const target = findTarget(jobs, asker, job, operation);
  const uid = isAdmin(jobs.context, asker) ? 0 : asker.uid;
  const client = jobs.context.rpc.client(target.home, JobServiceDefinition);
  const request = { operation, job: target.job, uid, fields_json: JSON.stringify(fields) };
  for await (const event of client.forward(request, { deadline_ms: 0, signal: options.signal })) {
    if (event.answer_json !== '') return parseObject(event.answer_json);
    options.onProgress?.(parseObject(event.progress_json));
  }
  throw new XosError('XOS_UNAVAILABLE', `cannot ${operation} job '${target.job}': its home node '${target.home}' ended the call without an answer`);
}

/** gRPC Forward, on the job's home. */
export async function* forwardHere(jobs: Jobs, request: ForwardRequest, signal: AbortSignal): AsyncIterable<ForwardEvent> {
  const operation = forwarded.find((each) => each === request.operation);
  if (operation === undefined) throw badArgument(`operation '${request.operation}' is not one of ${forwarded.join(', ')}`);
  const job = jobs.link.table.get(request.job);
  // A job can be restored when nothing of it is left but its checkpoint: the relay judges then.
  if (job === null && operation !== 'restore') throw noJob(operation, request.job);
  if (job !== null && request.uid !== 0 && job.uid !== request.uid) throw notYours(operation, job.id, `${job.user}@${job.vo}`);
  yield* withProgress(jobs.context, operation, { ...parseObject(request.fields_json), job: request.job, uid: request.uid }, signal);
}

async function* withProgress(context: NodeContext, operation: Forwarded, fields: ControlMessage, signal: AbortSignal): AsyncIterable<ForwardEvent> {
  const waiting: ForwardEvent[] = [];
  let wake = (): void => {};
  const push = (event: ForwardEvent): void => {
    waiting.push(event);
    wake();
  };
  const progress = (event: ControlMessage): void => push({ progress_json: JSON.stringify(event), answer_json: '' });
  const undo = context.native.relay.onEvent<ControlMessage>('progress', (event) => {
    if (event['job'] === fields['job']) progress(event);
  });
  const state: { over: boolean; error: unknown } = { over: false, error: null };
  const work = context.native.relay.request(operation, fields, { signal, timeout_ms: forward_ms, onProgress: progress })
    .then((answer) => push({ progress_json: '', answer_json: JSON.stringify(answer) }), (thrown: unknown) => { state.error = thrown; })
    .finally(() => { state.over = true; wake(); });
  try {
    while (!state.over || waiting.length > 0) {
      const event = waiting.shift();
      if (event !== undefined) yield event;
      else await new Promise<void>((resolve) => { wake = resolve; });
    }
    if (state.error !== null) throw state.error;
  } finally {
    undo();
    await work;
  }
}

/** A dump or a restore of a large job takes its time; an hour is the bound of waiting for it. */
const forward_ms = 3_600_000;

function parseObject(json: string): ControlMessage {
  try {
    const value: unknown = JSON.parse(json === '' ? '{}' : json);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as ControlMessage;
  } catch (thrown) {
    throw new XosError('XOS_BAD_ARGUMENT', 'the fields of a forwarded operation are not JSON', {}, { cause: thrown });
  }
  throw badArgument('the fields of a forwarded operation are not a JSON object');
}
