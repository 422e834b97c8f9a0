import { hasCode } from '../core/errors.ts';
import { parseJobId } from '../core/ids.ts';
import { noHome, noProxy, notYours, homeSilent } from './errors.ts';
import { isAdmin, type Asker, type Jobs } from './jobs.ts';

/** A job as a person names it, resolved as far as this node can: the id and the node that knows the job. */
export interface Target {
  readonly job: string;
  readonly home: string;
}

/**
 * Resolves `n1-42`, or the pid of a proxy on this node.
 * @param attempt the verb of the error message
 * @throws XosError XOS_BAD_NAME, XOS_NO_JOB, XOS_NO_NODE, XOS_DENIED
 */
export function findTarget(jobs: Jobs, asker: Asker, name: string, attempt: string): Target {
  const { members, node, vo } = jobs.context;
  if (/^[0-9]+$/.test(name)) {
    const job = jobs.link.table.list().filter((each) => each.proxy_pid === Number(name)).at(-1);
    if (job === undefined) throw noProxy(attempt, Number(name));
    if (job.uid !== asker.uid && !isAdmin(jobs.context, asker)) throw notYours(attempt, job.id, `${job.user}@${job.vo}`);
    return { job: job.id, home: node };
  }
  const { home } = parseJobId(name);
  if (members.node(home) === null) throw noHome(attempt, name, home, vo);
  return { job: name, home };
}

/** Runs a call to a job's home and turns "no answer" into an error that names job and node. */
export async function askHome<T>(target: Target, attempt: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    throw hasCode(thrown, 'XOS_UNREACHABLE', 'XOS_UNAVAILABLE', 'XOS_TIMEOUT') ? homeSilent(attempt, target.job, target.home, thrown) : thrown;
  }
}
