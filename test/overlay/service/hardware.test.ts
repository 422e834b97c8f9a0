import test from 'ava';
import type { Disk, Spawn } from '../../../src/core/ports.ts';
import { attributesOf } from '../../../src/overlay/service/attributes.ts';
import { collectHardware, librariesIn } from '../../../src/overlay/service/hardware.ts';

const printed = '3 libs found in cache `/etc/ld.so.cache\'\n\tlibmpi.so.40 (libc6,x86-64) => /lib/libmpi.so.40\n\tlibmpi.so (libc6,x86-64) => /lib/libmpi.so\n\tlibz.so.1 (libc6,x86-64) => /lib/libz.so.1\n\tlibpython3.13.so.1.0 (libc6) => /lib/x\n';
const files: Readonly<Record<string, readonly string[] | string>> = {
  '/dev': ['fuse', 'kvm', 'null', 'ttyUSB0', 'ttyUSB1'], '/dev/dri': ['card0', 'renderD128'], '/sys/class/hwmon': ['hwmon0', 'hwmon1'], '/sys/class/hwmon/hwmon0/name': 'coretemp\n', '/sys/bus/iio/devices': ['iio:device0'], '/sys/bus/iio/devices/iio:device0/name': 'bme280\n',
};
const disk = {
  list: async (path: string) => { if (path === '/sys/class/thermal') throw new Error('EACCES'); return files[path] ?? []; },
  read: async (path: string) => (files[path] === undefined ? null : Buffer.from(String(files[path]))),
} as unknown as Disk;
const spawn = { run: async () => ({ stdout: printed, stderr: '', exit_code: 0, exit_signal: null }) } as unknown as Spawn;

test('libraries that jobs ask for, devices and sensors', async (t) => {
  const found = await collectHardware({ spawn, disk }, new AbortController().signal);
  t.deepEqual(found, { libraries: ['libmpi', 'libpython3.13'], devices: ['kvm', 'fuse', 'render', 'serial'], sensors: ['coretemp', 'bme280'] });
  t.like(attributesOf({ cores: 2, ...found }), { cores: 2, libraries: ['libmpi', 'libpython3.13'], devices: ['fuse', 'kvm', 'render', 'serial'], sensors: ['bme280', 'coretemp'] });
});

test('a node without any of that says nothing, and more than fits is cut', async (t) => {
  const none = { list: async () => [], read: async () => null } as unknown as Disk;
  const broken = { run: async () => { throw new Error('no such program'); } } as unknown as Spawn;
  t.deepEqual(await collectHardware({ spawn: broken, disk: none }, new AbortController().signal), { libraries: [], devices: [], sensors: [] });
  t.false('devices' in attributesOf({ devices: [] }));
  t.is((attributesOf({ sensors: Array.from({ length: 40 }, (_, i) => `s${i}`) })['sensors'] as readonly string[]).length, 16);
  t.deepEqual(librariesIn('nonsense'), []);
});
