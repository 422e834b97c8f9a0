// The machine that an image is tried on: QEMU of the tools root, without KVM, with a serial console.
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { runTool } from './tools.mjs'

/**
 * @param {{firmware: 'uefi' | 'bios', secure?: boolean, disk?: string, iso?: string, variables?: string, serial: readonly string[], memory_mib?: number, cpus?: number, network?: boolean | 'alone' | readonly {socket: string, mac: string}[], drives?: readonly string[],
 *   direct?: {linux: string, initrd: string, line: string}}} machine
 *   `secure`: UEFI that knows Secure Boot, and enforces it once it has keys; `network`: a network card that reaches the world through this machine; `alone`: one with addresses and no world; or cards that are plugged into switches (test/system/support/network.ts), from
 *   the first of which a machine without a disk starts. `disk`: a qcow2 file; `variables`: a file for UEFI's variables; `serial`: QEMU's arguments for the serial port; `drives`: files that are read-only disks; `direct`: a kernel that is started without a boot loader
 */
export function imageArguments({ firmware, secure = false, disk, iso, variables, serial, memory_mib = 1024, cpus = 2, network = false, drives = [], direct }) {
  return [
    'qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'std',
    '-machine', `q35,vmport=off${secure ? ',smm=on' : ''}`, '-accel', 'tcg,thread=multi', '-cpu', 'Nehalem', '-smp', String(cpus), '-m', String(memory_mib), ...serial,
    // Keys are kept from the system by letting only code in system management mode write to the flash.
    ...(secure ? ['-global', 'driver=cfi.pflash01,property=secure,value=on', '-global', 'ICH9-LPC.disable_s3=1'] : []),
    ...(firmware === 'uefi' ? ['-drive', `if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M${secure ? '.secboot' : ''}.fd`, '-drive', `if=pflash,format=raw,file=${variables}`] : []),
    ...(disk === undefined ? [] : ['-drive', `if=none,id=disk,format=qcow2,file=${disk},cache=unsafe`, '-device', 'virtio-blk-pci,drive=disk']),
    ...(iso === undefined ? [] : ['-drive', `if=none,id=cd,media=cdrom,format=raw,readonly=on,file=${iso}`, '-device', 'ide-cd,drive=cd']),
    ...drives.flatMap((path, index) => ['-drive', `if=none,id=drive${index},format=raw,readonly=on,file=${path}`, '-device', `virtio-blk-pci,drive=drive${index}`]),
    ...networkArguments(network, firmware),
    '-device', 'virtio-rng-pci',
    ...(direct === undefined ? [] : ['-kernel', direct.linux, '-initrd', direct.initrd, '-append', direct.line]),
  ]
}

function networkArguments(network, firmware) {
  if (network === false) return []
  if (!Array.isArray(network)) return ['-netdev', `user,id=net${network === 'alone' ? ',restrict=on' : ''}`, '-device', 'virtio-net-pci,netdev=net,romfile=']
  return network.flatMap(({ socket, mac }, index) => ['-netdev', `stream,id=net${index},server=off,addr.type=unix,addr.path=${socket}`, // A BIOS starts from the network by the iPXE in the card's ROM, UEFI by a client of its own.
    '-device', `virtio-net-pci,netdev=net${index},mac=${mac}${firmware === 'uefi' ? ',romfile=' : ''}`])
}

/**
 * A disk for one machine: what is written goes into it, the image stays as it is. @param {string} tools @param {string} image @param {string} path
 * @param {{size_gib?: number, signal?: AbortSignal}} [options] `size_gib`: bigger than the image, as real disks are
 */
export async function makeOverlay(tools, image, path, { size_gib = 4, signal } = {}) {
  await runTool(tools, ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', image, path, `${size_gib}G`], { binds: [join(image, '..'), join(path, '..')], signal, timeout_ms: 60_000, what: 'qemu-img' })
}

/** A fresh set of UEFI's variables. @param {string} tools @param {string} path */
export function makeVariables(tools, path) {
  try {
    copyFileSync(join(tools, 'usr/share/OVMF/OVMF_VARS_4M.fd'), path)
  } catch (error) {
    throw new SetupError('XOS_IMAGE_BOOT', `cannot prepare UEFI for a virtual machine: ${error.message}`, { cause: error })
  }
}
