# SPDX-License-Identifier: GPL-2.0-or-later
# What kill-sweep and soak share: the host's cards, and what is to be seen of them.
package Ferry;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT = qw($hook @cards slurp pause run driver_of functions_of is_home is_lent
	loan_files loans_of vm_config await host_is_home);

our $hook = '/var/lib/vz/snippets/gpu-ferry';
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

1;
