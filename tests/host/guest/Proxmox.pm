# SPDX-License-Identifier: GPL-2.0-or-later
# What pve-vm and pct share: a guest's config and lock, and how Proxmox calls a hookscript.
# Modules of Perl are loaded only where they are used: that takes its time under software emulation.
package Proxmox;
use strict;
use warnings;
use Exporter 'import';
use Fcntl qw(:flock);
our @EXPORT = qw(slurp pause locked config exec_hookscript);

sub slurp {
	my ($path) = @_;
	open(my $file, '<', $path) or return undef;
	local $/;
	my $text = <$file>;
	return $text;
}

sub pause {
	select(undef, undef, undef, 0.1);
}

sub locked {
	my ($path, $seconds, $code) = @_;
	open(my $lock, '>>', $path) or die "can't open lock file '$path': $!\n";
	for (my $end = time() + $seconds; !flock($lock, LOCK_EX | LOCK_NB); pause()) {
		die "can't lock file '$path' - got timeout\n" if time() > $end;
	}
	my $answer = eval { $code->() };
	my $error = $@;
	close($lock);
	die $error if $error;
	return $answer;
}

# The part before the first section; the last of several lines counts.
sub config {
	my ($folder, $vmid) = @_;
	my $text = slurp("/etc/pve/$folder/$vmid.conf");
	die "Configuration file 'nodes/pve/$folder/$vmid.conf' does not exist\n" if !defined $text;
	my %config;
	for my $line (split /\n/, $text) {
		last if $line =~ /^\[/;
		$config{$1} = $2 if $line =~ /^([a-z][a-z_\-]*\d*):\s*(.+?)\s*$/;
	}
	return \%config;
}

sub exec_hookscript {
	my ($config, $vmid, $phase, $stop_on_error) = @_;
	my $volume = $config->{hookscript} or return;
	eval {
		my ($name) = $volume =~ m|^local:snippets/([^/]+)$| or die "unable to parse volume ID '$volume'\n";
		my $path = "/var/lib/vz/snippets/$name";
		die "script '$volume' does not exist\n" if !-f $path;
		die "script '$volume' is not executable\n" if !-x $path;
		run_hook($path, $vmid, $phase);
	};
	if (my $error = $@) {
		die "hookscript error for $vmid on $phase: $error" if $stop_on_error;
		print "WARN: hookscript error for $vmid on $phase: $error";
	}
}

# Its output is shown line by line until both pipes are at their end, however long a child of the
# hook keeps them open: what a hook leaves behind with them blocks the VM's task.
sub run_hook {
	my @command = @_;
	pipe(my $out, my $out_end) && pipe(my $err, my $err_end) or die "pipe: $!\n";
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $out_end);
		open(STDERR, '>&', $err_end);
		%ENV = (PATH => '/sbin:/bin:/usr/sbin:/usr/bin', LC_ALL => 'C', PVE_MIGRATED_FROM => '');
		exec { $command[0] } @command or do { require POSIX; POSIX::_exit(127) };
	}
	close($out_end);
	close($err_end);
	require IO::Select;
	my $select = IO::Select->new($out, $err);
	my %line = ($out => '', $err => '');
	while (my @ready = $select->can_read()) {
		for my $pipe (@ready) {
			if (!sysread($pipe, $line{$pipe}, 4096, length $line{$pipe})) {
				print "$line{$pipe}\n" if length $line{$pipe};
				$select->remove($pipe);
				next;
			}
			print $1 while $line{$pipe} =~ s/^(.*\n)//;
		}
	}
	waitpid($pid, 0);
	my $shown = "command '@command' failed";
	die "$shown: got signal " . ($? & 127) . "\n" if $? & 127;
	die "$shown: exit code " . ($? >> 8) . "\n" if $?;
}

1;
