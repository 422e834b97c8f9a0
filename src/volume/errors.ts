import { XosError } from '../core/errors.ts';

export const noVolume = (attempt: string, volume: string): XosError =>
  new XosError('XOS_NO_VOLUME', `cannot ${attempt} volume '${volume}': there is no such volume; 'xvolume list' shows them`, { volume });

export const volumeExists = (volume: string): XosError =>
  new XosError('XOS_EXISTS', `cannot create volume '${volume}': it exists already`, { volume });

export const notAdmin = (attempt: string, volume: string): XosError =>
  new XosError('XOS_DENIED', `cannot ${attempt} volume '${volume}': that takes the role 'admin' in the VO; ask one who has it`, { volume });

export const badVolume = (volume: string, rule: string): XosError =>
  new XosError('XOS_BAD_NAME', `volume '${volume.slice(0, 80)}' is not valid: ${rule}`, {});

export const noMrc = (vo: string): XosError =>
  new XosError('XOS_NO_NODE', `VO '${vo}' has no node with the role mrc, so it has no volumes; give it to one in its /etc/xos/node.json`, { vo });
