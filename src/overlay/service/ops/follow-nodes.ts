import type { OverlayOperations } from '../../../api/operations/overlay.ts';
import { XosError } from '../../../core/errors.ts';
import type { Descriptor, Peer } from '../../core/index.ts';
import { constraintsOf, metricsOf } from '../ask-directory.ts';
import { find, understand } from '../find.ts';
import type { RunningOverlay } from '../handle.ts';
import { limits } from '../limits.ts';
import { rowOf } from './query-nodes.ts';

type FollowNodes = OverlayOperations['node-follow'];

let opened = 0;

/**
 * xosd.sock `node-follow`: a directory (ADS) for one application. It is opened on what RSS finds, asked each second, opened anew when RSS finds others, and
 * closed when the caller goes; what fits comes as progress whenever it changes. Throws XOS_BAD_QUERY, XOS_BAD_ARGUMENT, XOS_BUSY, XOS_UNAVAILABLE.
 */
export async function* followNodes(service: RunningOverlay, request: FollowNodes['request'], signal: AbortSignal): AsyncGenerator<FollowNodes['progress'], FollowNodes['response'], void> {
  const count = Number(request.count ?? 0);
  if (!Number.isInteger(count) || count < 0 || count > limits.query_count_max) throw new XosError('XOS_BAD_ARGUMENT', `a query is for 0 (all) to ${limits.query_count_max} nodes, not ${String(request.count)}`);
  const { clock } = service.options.context.ports;
  const { fixed, dynamic } = understand(service.parts, String(request.query ?? ''));
  const { ads, known } = service.parts;
  const app = `follow/${service.options.context.node}/${++opened}`;
  let [members, last, found_ms]: [readonly Peer[], string | null, number] = [[], null, Number.NEGATIVE_INFINITY];
  try {
    while (!signal.aborted) {
      if (clock.monotonic_ms() - found_ms >= limits.follow_again_ms) {
        found_ms = clock.monotonic_ms();
        const { found } = await find(service.parts, fixed, 0, clock.deadline(limits.query_ms, signal));
        const peers = found.map(({ node }) => known.find(node)).filter((peer) => peer >= 0).sort((a, b) => a - b);
        if (peers.join() !== members.join() || ads.members(0, app).length === 0) {
          ads.close(0, app);
          if (peers.length > 0 && !ads.open(0, app, peers, metricsOf(dynamic))) throw new XosError('XOS_BUSY', `cannot follow ${peers.length} nodes: too many, or too much is being followed; narrow the query`);
          members = peers;
          await clock.sleep(limits.directory_wait_ms, signal);
        }
      }
      const fitting = members.length === 0 ? [] : await new Promise<readonly Peer[] | null>((resolve) => {
        if (!ads.find(0, app, { constraints: constraintsOf(dynamic) }, count === 0 ? members.length : count, resolve)) resolve(null);
      });
      // Nobody answered: what was said last stands until somebody does.
      const rows = fitting?.flatMap((peer): Descriptor[] => { const descriptor = known.descriptor(peer); return descriptor === null ? [] : [descriptor]; }).sort((a, b) => (a.node < b.node ? -1 : 1));
      if (rows !== undefined && rows.map(({ node }) => node).join() !== last) {
        last = rows.map(({ node }) => node).join();
        yield { nodes: rows.map((descriptor) => rowOf(descriptor)) };
      }
      await clock.sleep(limits.follow_ms, signal);
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  } finally {
    ads.close(0, app);
  }
  return {};
}
