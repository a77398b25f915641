/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "patient.h"
void doctor_check_guests(struct doctor *doctor)
{
	(void)doctor;
}
void patient_check_hookscript(struct patient *patient)
{
	(void)patient;
}
void patient_check_others(struct patient *patient)
{
	(void)patient;
}
