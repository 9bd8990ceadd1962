"""Word lists of the synthetic patent abstracts: nine sections of six subtopics each, and the words all share.

The sections are the original's nine categories (``LABELS_DICT`` of its ``infer_eval.py``). Neighbouring sections
overlap on purpose: "nozzle", "membrane", "turbine" and others stand in several lists, as they do in real patents.
"""

from __future__ import annotations

SECTIONS: dict[str, tuple[str, ...]] = {
    "Human Necessities": (
        "harvester seed crop soil plough irrigation greenhouse fertilizer livestock tractor orchard",
        "dough beverage flavour sweetener meat noodle protein emulsifier baking fermentation juice",
        "catheter implant syringe suture stent bandage scalpel tissue wound bone endoscope",
        "tablet dosage antibody vaccine capsule receptor inflammation tumour placebo excipient ointment",
        "mattress chair pillow drawer sofa cushion cabinet bed armrest tableware cradle",
        "shoe garment helmet glove racket treadmill zipper dumbbell sock jersey golf",
    ),
    "Performing Operations; Transporting": (
        "filter centrifuge sieve sediment membrane cyclone separator slurry adsorption mixer agitator",
        "mould extruder lathe milling drill stamping welding forging cutter punch grinding",
        "printer inkjet nozzle ink cartridge platen roller embossing toner stencil typeface",
        "tyre wheel axle suspension bumper windshield trailer chassis steering brake dashboard",
        "fuselage wing rotor hull propeller aircraft drone anchor rudder cockpit parachute",
        "conveyor pallet container bottle crane hoist carton hopper forklift wrapping tray",
    ),
    "Chemistry; Metallurgy": (
        "ammonia chloride hydroxide silica zeolite phosphate sulphate peroxide graphite borate carbonate",
        "ester ketone amine aldehyde benzene alkyl synthesis chirality solvent reagent phenol",
        "polymer resin monomer copolymer epoxy polyester rubber curing polyamide latex crosslinking",
        "alloy steel furnace smelting ingot annealing slag electroplating zinc titanium austenite",
        "enzyme plasmid gene peptide nucleotide cell fermentation antibody genome primer strain",
        "petroleum lubricant pigment dye bitumen detergent gasoline coke paint adhesive distillation",
    ),
    "Textiles; Paper": (
        "yarn spindle spinning fibre carding bobbin twist filament draft roving combing",
        "loom weft warp weaving shuttle reed heddle fabric selvedge picking jacquard",
        "knitting needle loop stitch crochet jersey sinker latch course wale carriage",
        "sewing thread presser embroidery seam bobbin hem feed tufting quilt lace",
        "laundry drum rinse bleaching dye dryer ironing detergent softener finishing spin",
        "pulp cellulose paper headbox calender lignin bark wet sizing cardboard press",
    ),
    "Fixed Constructions": (
        "asphalt pavement road bridge railway sleeper kerb roadway girder viaduct gravel",
        "sewer pipe toilet faucet drain cistern basin sewage manhole siphon washbasin",
        "brick concrete beam column scaffold wall floor roof tile formwork plaster",
        "lock key latch bolt handle hinge padlock strike cylinder tumbler deadbolt",
        "door window shutter blind frame glazing sash curtain ladder louver sill",
        "borehole drill casing wellbore mud shaft tunnel mining excavation cement packer",
    ),
    "Mechanical Engineering; Lightning; Heating; Weapons; Blasting": (
        "piston cylinder crankshaft valve camshaft exhaust turbocharger injector combustion ignition manifold",
        "pump impeller compressor diaphragm suction hydraulic accumulator turbine blade vane stator",
        "bearing gear clutch shaft coupling flange gasket spring damper pulley sprocket",
        "lamp luminaire reflector lens lighting bulb diffuser lantern headlamp shade socket",
        "boiler burner stove radiator refrigerant evaporator condenser heater chimney oven furnace",
        "rifle barrel cartridge ammunition projectile trigger detonator explosive warhead muzzle magazine",
    ),
    "Physics": (
        "sensor gauge thermometer spectrometer calibration probe interferometer accelerometer detector gyroscope",
        "lens mirror prism grating hologram microscope polarizer waveguide telescope aperture collimator",
        "camera photographic exposure shutter projector film photoresist mask toner developer lithography",
        "processor memory cache instruction database query algorithm software pixel interrupt compiler",
        "display keyboard touchscreen cursor alarm barcode traffic cryptographic classroom loudspeaker music",
        "reactor isotope neutron radiation collimator plutonium shielding scintillator coolant dosimeter fission",
    ),
    "Electricity": (
        "cable conductor connector socket insulator relay switch fuse resistor capacitor coil",
        "battery electrode electrolyte anode cathode separator lithium cell membrane charging terminal",
        "motor generator stator winding inverter converter rectifier voltage rotor transformer torque",
        "amplifier oscillator transistor filter circuit impedance logic latch comparator gate bias",
        "antenna modulation packet base-station handover bandwidth transmitter receiver router subscriber channel",
        "semiconductor wafer substrate doping diode epitaxial etching dielectric photodiode gallium oxide",
    ),
    "General tagging of new or cross-sectional technology": (
        "photovoltaic wind turbine solar renewable grid storage inverter biomass tidal geothermal",
        "emission carbon capture sequestration greenhouse dioxide methane scrubbing climate offset catalyst",
        "recycling waste landfill compost reuse sorting biodegradable reclamation residue sewage packaging",
        "hybrid regenerative charging electric vehicle fuel-cell hydrogen plug-in powertrain battery mileage",
        "insulation standby efficiency smart metering building glazing lighting heat-pump thermostat saving",
        "nanotube nanoparticle quantum superconducting graphene nanowire self-assembled cryogenic spin fullerene dots",
    ),
}

# Sections that patent examiners confuse most: each one's confusing words come mostly from these.
NEIGHBOURS: dict[int, tuple[int, ...]] = {
    0: (2, 1),
    1: (5, 3),
    2: (0, 3, 8),
    3: (1, 2),
    4: (5, 1),
    5: (1, 4, 8),
    6: (7, 5),
    7: (6, 8),
    8: (7, 2, 5),
}

SHARED_NOUNS = (
    "device apparatus system assembly unit module member housing portion surface body element component mechanism "
    "arrangement layer chamber plate region section end side base cover opening edge structure tool support controller "
    "signal material mixture temperature flow force position direction length supply"
)

ADJECTIVES = (
    "first second upper lower inner outer plurality-of movable fixed adjacent elongated removable flexible rigid "
    "longitudinal central predetermined corresponding opposite annular respective improved separate common integrated"
)

VERBS = "coupled connected attached mounted applied arranged secured provided positioned adapted joined exposed"

# {0}, {1}, {2} are slots for topic words, {n} a shared noun, {a} an adjective, {v} a verb.
SENTENCES = (
    "the {n} comprises a {a} {0} and a {1} {v} to the {2} .",
    "a {0} is {v} to the {a} {n} such that the {1} remains {v} during operation .",
    "in one embodiment , the {0} of the {n} includes a {1} with a {a} {2} .",
    "the {a} {n} further includes at least one {0} , and the {1} is {v} between the {2} and the {n} .",
    "by means of the {0} , a {a} {1} can be obtained without an additional {n} .",
    "the {n} receives the {0} from the {1} and moves it toward the {a} {2} .",
    "each {0} may have a {a} {n} facing the {1} .",
    "when the {0} reaches a {a} {n} , the {1} and the {2} are {v} again .",
)
OPENINGS = (
    "the invention relates to a {n} having a {0} and a {1} .",
    "disclosed is a method for operating a {0} with a {a} {n} .",
    "a {n} for a {0} includes a {1} .",
    "a {a} {0} is provided with a {n} and a {1} .",
)
