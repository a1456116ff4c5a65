-- Orthanc's auto-routing to dae-pacs: every series that has stood still for StableAge seconds goes to the
-- modality "dae-pacs", except for the series that dae-pacs made.
--
-- One association carries a whole series and is released at its end, which tells the node that the series is
-- complete. The transfer is a job: when the node is down, it stands as "Failure" under /jobs and can be sent
-- again with POST /jobs/{id}/resubmit. A late image sends its series again, which the node knows and accepts.

local NODE = 'dae-pacs'

-- Contributing Equipment Sequence names whoever had a hand in an object (PS3.3 C.12.1.1.5); purpose 109102 is
-- "Processing Equipment" (PS3.16 CID 7005).
local function made_by_dae_pacs(tags)
   for _, equipment in pairs(tags['ContributingEquipmentSequence'] or {}) do
      local purpose = (equipment['PurposeOfReferenceCodeSequence'] or { {} })[1]
      if equipment['Manufacturer'] == 'dae-pacs' and purpose['CodeValue'] == '109102' then
         return true
      end
   end
   return false
end

function OnStableSeries(seriesId, _, _)
   local first = ParseJson(RestApiGet('/series/' .. seriesId))['Instances'][1]
   local tags = ParseJson(RestApiGet('/instances/' .. first .. '/simplified-tags'))
   if made_by_dae_pacs(tags) then
      return
   end
   local job = { ['Resources'] = { seriesId }, ['Asynchronous'] = true }
   RestApiPost('/modalities/' .. NODE .. '/store', DumpJson(job, true))
end
