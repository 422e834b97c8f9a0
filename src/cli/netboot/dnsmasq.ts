import { http_port, type NetbootSettings } from './settings.ts';

/**
 * Configuration of dnsmasq(8): addresses and the boot loader, on the boot network alone, no DNS. A machine's own PXE loads iPXE by TFTP;
 * iPXE (which says so in DHCP option 175) goes on by HTTP.
 */
export function dnsmasqConfiguration(settings: NetbootSettings, folders: { readonly tftp: string; readonly leases: string }): string {
  const { address, range } = settings;
  return [
    'port=0', `interface=${settings.interface}`, 'except-interface=lo', 'bind-dynamic', 'no-ping',
    `dhcp-range=${range[0]},${range[1]},1h`, 'dhcp-authoritative', `dhcp-leasefile=${folders.leases}`,
    // The head is no router and no name server of its nodes: they reach each other, and the head by its address.
    'dhcp-option=option:router', 'dhcp-option=option:dns-server',
    'enable-tftp', `tftp-root=${folders.tftp}`, 'tftp-no-fail',
    'dhcp-match=set:ipxe,175', 'dhcp-match=set:efi,option:client-arch,7', 'dhcp-match=set:efi,option:client-arch,9',
    'dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe', 'dhcp-boot=tag:!ipxe,tag:efi,snponly.efi',
    `dhcp-boot=tag:ipxe,http://${address}:${http_port}/cgi-bin/boot`, '',
  ].join('\n');
}
