# SPDX-License-Identifier: GPL-2.0-or-later
# What kill-sweep, soak and turn-sweep share: the host's cards, what is to be seen of them, and VMs.
package Ferry;
use strict;
use warnings;
use Exporter 'import';
use POSIX ();
our @EXPORT = qw($hook @cards slurp pause run driver_of functions_of is_home is_lent
	loan_files loans_of vm_config write_mapping await uptime host_is_home pid_of cards_of task_start);

our $hook = '/var/lib/vz/snippets/gpu-ferry';
my $tests = $0 =~ m|^(.*)/| ? $1 : '.';
my $pci = '/sys/bus/pci/devices';
my @home = qw(bochs-drm snd_hda_intel xhci_hcd);
# The slots of the two cards: 0000:01:00
our @cards = sort map { m|([^/]+)\.0/class$| } grep { slurp($_) =~ /^0x0380/ } glob("$pci/*.0/class");

sub slurp {
	my ($path) = @_;
	open(my $file, '<', $path) or return undef;
	local $/;
	return scalar <$file>;
}

sub pause {
	select(undef, undef, undef, $_[0]);
}

# The exit code (128 + N for a signal) and what it said.
sub run {
	my @command = @_;
	pipe(my $read, my $write) or die "pipe: $!\n";
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $write);
		open(STDERR, '>&', $write);
		exec { $command[0] } @command or exit 127;
	}
	close($write);
	local $/;
	my $text = <$read> // '';
	waitpid($pid, 0);
	return ($? & 127 ? 128 + ($? & 127) : $? >> 8, $text);
}

sub driver_of {
	my ($address) = @_;
	return (readlink("$pci/$address/driver") // 'none') =~ s|.*/||r;
}

sub functions_of {
	my ($card) = @_;
	return map { "$card.$_" } 0 .. 2;
}

# Empty when all is well, else what is wrong.
sub is_home {
	my ($card) = @_;
	return join(', ', map { my $now = driver_of("$card.$_"); $now eq $home[$_] ? () : "$card.$_ is on $now" } 0 .. 2);
}

sub is_lent {
	my ($card) = @_;
	return join(', ', map { my $now = driver_of($_); $now eq 'vfio-pci' ? () : "$_ is on $now" } functions_of($card));
}

sub loan_files {
	return map { s|.*/||r } glob('/run/gpu-ferry/loans/*.json');
}

# address => [owner, state] of all that is lent, from `gpu-ferry status`.
sub loans_of {
	my ($status, $text) = run('gpu-ferry', 'status');
	my %lent;
	for (split /\n/, $text) {
		push @{ $lent{$3} }, [ $1, $2 ] if /^VM (\d+)\s+(\S+)\s+([0-9a-f:.]+)\s/;
	}
	return \%lent;
}

sub vm_config {
	my ($vmid, @lines) = @_;
	open(my $file, '>', "/etc/pve/nodes/pve/qemu-server/$vmid.conf") or die "config of $vmid: $!\n";
	print $file map { "$_\n" } 'hookscript: local:snippets/gpu-ferry', 'machine: q35', @lines;
	close($file);
}

# A resource mapping of both cards, with the properties that Proxmox compares.
sub write_mapping {
	open(my $file, '>', '/etc/pve/mapping/pci.cfg') or die "pci.cfg: $!\n";
	print $file "gpu\n";
	for my $card (@cards) {
		my $folder = "/sys/bus/pci/devices/$card.0";
		my @ids = map { slurp("$folder/$_") =~ s/^0x|\n//gr } qw(vendor device subsystem_vendor subsystem_device);
		my $group = readlink("$folder/iommu_group") =~ s|.*/||r;
		print $file "\tmap id=$ids[0]:$ids[1],iommugroup=$group,node=pve,path=$card,subsystem-id=$ids[2]:$ids[3]\n";
	}
	close($file);
}

# Parts of a second count, and perl-base has no other clock for them.
sub uptime {
	return (split ' ', slurp('/proc/uptime'))[0];
}

# Waits until $code is true, $seconds at most.
sub await {
	my ($seconds, $code) = @_;
	for (my $end = time() + $seconds; !$code->(); pause(0.1)) {
		return 0 if time() > $end;
	}
	return 1;
}

# The whole host as it was before: nodes come a moment after their driver. Empty, or the difference.
sub host_is_home {
	my ($before) = @_;
	my $now;
	return '' if await(10, sub { $now = (run('state'))[1]; $now eq $before });
	my %known = map { $_ => 1 } split /\n/, $before;
	return join("\n", grep { !$known{$_} } split /\n/, $now);
}

sub pid_of {
	my ($vmid) = @_;
	my ($pid) = (slurp("/run/qemu-server/$vmid.pid") // '') =~ /^(\d+)/ or return 0;
	return (slurp("/proc/$pid/cmdline") // '') ne '' ? $pid : 0;
}

# What Proxmox gave the VM.
sub cards_of {
	my ($vmid) = @_;
	my %has;
	/^(\S+)\.\d $vmid / && $has{$1}++ for split /\n/, slurp('/run/qemu-server/pci-id-reservations') // '';
	return sort keys %has;
}

# A task of Proxmox's, its log in $file: its PID. pve-vm in a child of this process instead of a program
# of its own, for a new perl takes a quarter of a second under software emulation.
sub task_start {
	my ($file, @command) = @_;
	my $pid = fork() // die "fork: $!\n";
	return $pid if $pid;
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>', $file);
	open(STDERR, '>&', \*STDOUT);
	@ARGV = @command;
	$0 = "$tests/pve-vm";
	# it has functions of the same names as this one
	local $SIG{__WARN__} = sub { warn @_ if $_[0] !~ /redefined/ };
	do $0;
	print $@ if $@;
	POSIX::_exit($@ ? 127 : 0);
}

1;
