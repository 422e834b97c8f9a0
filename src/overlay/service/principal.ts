import type { ApiCaller } from '../../api/registry.ts';
import { XosError } from '../../core/errors.ts';
import type { NodeContext } from '../../daemon/context.ts';
import type { Principal } from '../pubsub/access.ts';

/** Who a caller of xosd.sock is to the topics: root is the node, a member itself. Throws XOS_DENIED for everybody else. */
export function principalOf(context: Pick<NodeContext, 'node' | 'vo' | 'members'>, caller: ApiCaller, attempt: string): Principal {
  if (caller.uid === 0) return { kind: 'node', node: context.node };
  const member = context.members.byUid(caller.uid);
  if (member === null || member.state !== 'active') throw new XosError('XOS_DENIED', `cannot ${attempt}: you are no member of VO '${context.vo}'; log in as user@${context.vo}`);
  return { kind: 'user', user: member.user, uid: member.uid, roles: member.roles };
}
