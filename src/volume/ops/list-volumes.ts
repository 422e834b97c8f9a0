import type { NodeContext } from '../../daemon/context.ts';
import { DirServiceDefinition, type ListReply } from '../../proto/xos/volume/v1/volume.ts';
import type { VolumeRow, VolumeServers } from '../../api/operations/volume.ts';
import { noVolume } from '../errors.ts';
import { limits } from '../limits.ts';
import { mrcClient, parseVolumeName, readVolumes, volumeRow } from '../volumes.ts';

/** xosd.sock `volume-list`; anyone may ask. */
export async function listVolumes(context: NodeContext, signal: AbortSignal): Promise<{ readonly volumes: readonly VolumeRow[] }> {
  const { volumes } = await mrcClient(context).list({}, { deadline_ms: limits.report_deadline_ms, signal });
  return { volumes: volumes.map((volume) => volumeRow(context, volume)).sort((a, b) => (a.volume < b.volume ? -1 : 1)) };
}

/** xosd.sock `volume-show`: one volume and all servers, as the DIR knows them. */
export async function showVolume(context: NodeContext, request: { volume: string }, signal: AbortSignal): Promise<{ readonly volume: VolumeRow; readonly servers: VolumeServers }> {
  const name = parseVolumeName(request.volume);
  const volume = (await listVolumes(context, signal)).volumes.find((each) => each.volume === name);
  if (volume === undefined) throw noVolume('show', name);
  const record = context.members.withRole('dir');
  if (record === null) return { volume, servers: { mrc: null, osds: [] } };
  const servers = await context.rpc.client(record.node, DirServiceDefinition).watch({ version: '', turn_ms: 0 }, { deadline_ms: limits.report_deadline_ms, signal });
  return { volume, servers: { mrc: servers.mrc ?? null, osds: servers.osds.map(({ key: _key, ...osd }) => osd) } };
}

/** gRPC List, on the MRC's node. */
export async function listHere(context: NodeContext, signal: AbortSignal): Promise<ListReply> {
  return { volumes: [...readVolumes(await context.native.mrc.request('volume-list', {}, { signal }))] };
}
