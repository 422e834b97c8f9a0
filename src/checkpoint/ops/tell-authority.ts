import type { NodeContext } from '../../daemon/context.ts';
import { XosError } from '../../core/errors.ts';

/** xosd.sock `checkpoint-authority`: who vouches for the nodes of the VO, whose signature makes a checkpoint one that can be restarted. No secret. */
export async function tellAuthority(context: NodeContext): Promise<{ readonly certificates: string }> {
  const file = `${context.paths.state}/node/ca.pem`;
  const bytes = await context.ports.disk.read(file);
  if (bytes === null) throw new XosError('XOS_UNAVAILABLE', `cannot tell who vouches for the nodes of VO '${context.vo}': '${file}' is not there; restart xosd`, { file });
  return { certificates: bytes.toString('utf8') };
}
