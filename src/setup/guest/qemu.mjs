// The machine that a test guest is. One place, because a snapshot can only be loaded by a machine with the same devices.
import { join } from 'node:path'

/**
 * QEMU's arguments. Nothing of it touches the network of this machine.
 * @param {{layers: import('./layers.mjs').GuestLayers, disk: string, folder: string, memory_mib: number, cpus: number, append?: string, network?: string, state?: string, counted?: boolean}} machine
 *   `counted`: its clock counts instructions, four nanoseconds each, of both processors in turn; `folder`: where its sockets (qmp, agent, console) are made; `network`: a Unix socket of a switch to plug into; `state`: a snapshot to go on from
 */
export function qemuArguments({ layers, disk, folder, memory_mib, cpus, append, network, state, counted = false }) {
  const socket = (name) => `socket,id=${name},path=${join(folder, name)},server=on,wait=off`
  const layer = (path) => ['-drive', `if=virtio,format=raw,readonly=on,file=${path}`]
  return [
    'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
    '-machine', 'q35,usb=off,vmport=off', '-accel', counted ? 'tcg,thread=single' : 'tcg,thread=multi', ...(counted ? ['-icount', 'shift=2,sleep=on'] : []), '-cpu', 'Nehalem', '-smp', String(cpus), '-m', String(memory_mib),
    '-kernel', layers.kernel, '-initrd', layers.initrd, '-append', [`console=ttyS0 quiet panic=-1 net.ifnames=0 systemd.show_status=0 xos.layers=${layers.layers.length}`, append].filter(Boolean).join(' '),
    ...layers.layers.flatMap(layer),
    // What a guest writes goes into an unnamed file beside the snapshot: it is gone with the process, however that ends.
    '-drive', `if=virtio,format=qcow2,file=${disk},cache=unsafe,snapshot=${state === undefined ? 'off' : 'on'}`,
    '-chardev', socket('qmp'), '-mon', 'chardev=qmp,mode=control',
    '-chardev', socket('console'), '-serial', 'chardev:console',
    '-device', 'virtio-serial-pci', '-chardev', socket('agent'), '-device', 'virtserialport,chardev=agent,name=org.xtreemos.agent',
    '-device', 'virtio-rng-pci',
    '-netdev', network === undefined ? 'hubport,id=net,hubid=0' : `stream,id=net,server=off,addr.type=unix,addr.path=${network}`,
    '-device', 'virtio-net-pci,netdev=net,romfile=,mac=52:54:00:78:6f:00',
    ...(state === undefined ? [] : ['-incoming', 'defer']),
  ]
}
