import type { VolumePolicy } from '../../api/operations/volume.ts';
import { UsageError } from './parse.ts';
import { parseBytes } from './units.ts';

/** What the commands on volumes share. */
export const volumeArgument = { name: 'VOLUME', summary: 'name of the volume; it is at /grid/VO/VOLUME', complete: 'volume' } as const;

export const policyOptions = {
  'stripe-size': { kind: 'text', value: 'SIZE', summary: 'bytes in a stripe, a multiple of 4K up to 4M' },
  width: { kind: 'number', value: 'N', integer: true, min: 1, max: 64, summary: 'object servers that a file is spread over' },
  placement: { kind: 'text', value: 'POLICY', choices: ['with-mrc', 'local', 'spread'], summary: "where a new file's data goes" },
  replication: { kind: 'text', value: 'POLICY', choices: ['none', 'quorum', 'all'], summary: 'keep new files in several copies that are written to: a write takes more than half of them, or all' },
  replicas: { kind: 'number', value: 'N', integer: true, min: 2, max: 7, summary: 'how many copies; 3 when `--replication` is given alone' },
  atime: { kind: 'text', value: 'POLICY', choices: ['relatime', 'noatime'], summary: 'whether reading moves access times; of whole volumes only' },
} as const;

/** Throws UsageError. */
export function askedPolicy(options: { readonly 'stripe-size': string | undefined; readonly width: number | undefined; readonly placement: string | undefined; readonly atime: string | undefined; readonly replication: string | undefined; readonly replicas: number | undefined }): Partial<VolumePolicy> {
  const { width, placement, atime } = options;
  const stripe_size = bytesOption('stripe-size', options['stripe-size']);
  return {
    ...(stripe_size === undefined ? {} : { stripe_size }), ...(width === undefined ? {} : { width }),
    ...(placement === undefined ? {} : { placement: placement as VolumePolicy['placement'] }), ...(atime === undefined ? {} : { atime: atime as VolumePolicy['atime'] }),
    ...askedReplication(options),
  };
}

/** The one says that the other is meant: a quorum of three. */
function askedReplication({ replication, replicas }: { readonly replication: string | undefined; readonly replicas: number | undefined }): Partial<VolumePolicy> {
  if (replication === undefined && replicas === undefined) return {};
  if (replication === 'none') {
    if (replicas !== undefined) throw new UsageError('--replicas goes with --replication quorum or all, not with none');
    return { replication: 'none' };
  }
  return { replication: (replication ?? 'quorum') as VolumePolicy['replication'], replicas: replicas ?? 3 };
}

/** Throws UsageError. */
export function bytesOption(name: string, value: string | undefined): number | undefined {
  const bytes = value === undefined ? undefined : parseBytes(value);
  if (value !== undefined && bytes === undefined) throw new UsageError(`option '--${name}' is '${value}': it must be a size such as 1M`);
  return bytes;
}
